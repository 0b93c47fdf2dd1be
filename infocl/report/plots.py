"""Curves as inline SVG that takes its colours from the page's style."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infocl.report.inputs import History

# Stand-ins for the page's colours: matplotlib wants a colour, the page knows it only when it is shown.
COLOURS = {"ink": "#010101", "soft": "#020202", "line": "#030303", "first": "#040404", "second": "#050505"}
INK, SOFT, LINE, FIRST, SECOND = COLOURS.values()
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


@dataclass(frozen=True)
class Curve:
    """One line of a panel."""

    label: str
    values: npt.NDArray[np.float64]
    colour: str = FIRST
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """A small plot over the epochs, and the sentence below it."""

    name: str
    title: str
    unit: str
    words: str
    curves: Sequence[Curve]
    from_zero: bool = False


def training_panels(history: History, weight: float) -> list[Panel]:
    """The loss with its parts, then a panel for each quantity that the history holds."""
    loss = [Curve("loss", history["loss"], INK), Curve("objective", history["objective"])]
    if history["regularizer"].any():
        term = f"{weight:g} × regulariser" if weight != 1 else "regulariser"
        loss.append(Curve(term, weight * history["regularizer"], SECOND))
    words = "What was minimised, and its parts; which unit they have, if any, depends on the objective."
    panels = [Panel("loss", "Loss and its parts", "value", words, loss)]
    bounds = [name for name in history if name.startswith("regularizer_mi_bound_nats")]
    if bounds:
        panels.append(_information(history, bounds))
    shown = {*bounds, "regularizer_mi_ceiling_nats"}
    parts = [
        name for name in history if name.startswith(("objective_", "regularizer_")) and name not in shown
    ]
    return panels + [
        _part(name, history) for name in (*parts, "feature_spread", "images_per_second") if name in history
    ]


def _part(name: str, history: History) -> Panel:
    words = name.replace("_", " ").capitalize()
    unit = "nats" if name.endswith("_nats") else "value"
    title, unit, description = KNOWN_PARTS.get(name, (words, unit, "Logged by this part of the loss."))
    return Panel(name, title, unit, description, [Curve(title, history[name])], name == "images_per_second")


def _information(history: History, bounds: Sequence[str]) -> Panel:
    colours = (FIRST, SECOND, SOFT)
    curves = [
        Curve(_level(name), history[name], colour) for name, colour in zip(bounds, colours, strict=False)
    ]
    ceiling = history.get("regularizer_mi_ceiling_nats")
    if ceiling is not None:
        curves.append(Curve("ceiling log N", ceiling, INK, dashed=True))
    return Panel(
        "information",
        "Information about the view",
        "lower bound on I(z; v) in nats",
        "What the noisy features are known to tell of their view; a batch of N cannot show more than log N.",
        curves,
    )


def _level(column: str) -> str:
    return f"level {column[-1]}" if column[-1].isdigit() else "level 4"


KNOWN_PARTS = {
    "regularizer_reconstruction_mse": (
        "Reconstruction error",
        "squared units of encoder.normalization",
        "How far decoded views are from the true ones; with encoder.normalization: dataset the plain mean "
        "colour would score about 1.",
    ),
    "objective_positive_cosine": (
        "Agreement of the two views",
        "cosine similarity",
        "1 when both views of an image get the same embedding.",
    ),
    "feature_spread": (
        "Spread of the features",
        "standard deviation of unit features",
        "0 when all images look alike to the encoder (collapse), near 1 when their features differ freely.",
    ),
    "regularizer_feature_norm": (
        "Length of the features",
        "mean L2 norm",
        "A bound or a penalty can be met by features that merely grow or shrink, so their length is watched.",
    ),
    "regularizer_relative_distance": (
        "Distance of the two views",
        "share of unrelated images' distance",
        "0 when the features of both views agree, about 1 when they are as far apart as those of two images.",
    ),
    "regularizer_kl_nats": (
        "Divergence of the two views",
        "nats",
        "How far the noisy features of one view can be told from those of the other.",
    ),
    "regularizer_embedding_uniformity": (
        "Evenness of the embeddings",
        "log of the mean potential",
        "0 when all embeddings are equal; lower is more evenly spread. The term itself shows as 0.",
    ),
    "images_per_second": (
        "Throughput",
        "images per second",
        "Each image gives two views.",
    ),
}


def draw_panel(panel: Panel, epochs: npt.NDArray[np.float64]) -> Markup:
    """A panel as SVG."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": panel.name}):
        figure = Figure(figsize=(4.5, 2.8), layout="constrained")
        axes = figure.add_subplot()
        for curve in panel.curves:
            axes.plot(
                epochs,
                curve.values,
                color=curve.colour,
                linestyle=(0, (4, 3)) if curve.dashed else "solid",
                label=curve.label,
                marker="o" if len(epochs) == 1 else None,
            )
        axes.set(xlabel="epoch", ylabel=panel.unit)
        if panel.from_zero:
            axes.set_ylim(bottom=0)
        if len(panel.curves) > 1:
            legend_above(axes, len(panel.curves))
        return svg(figure, panel.name, f"{panel.title} over the epochs, in {panel.unit}.")


def legend_above(axes: Axes, columns: int) -> None:
    """The legend in one row above the axes."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, handlelength=1.4, columnspacing=1.2
    )


def svg(figure: Figure, name: str, description: str) -> Markup:
    """A figure as SVG in the page's colours; `name` sets its ids apart from those of other drawings."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    for colour, stand_in in COLOURS.items():
        text = text.replace(stand_in, f"var(--{colour})")
    text = re.sub(r'font: ([\d.]+px) [^;"]*', r"font-size: \1", text)
    prefix = re.sub(r"\W", "-", name)  # ids must differ between the drawings of one page
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1))
