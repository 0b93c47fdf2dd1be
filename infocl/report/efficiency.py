"""Label efficiency as curves: accuracy by the number of labels, of the trained encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from infocl.report.inputs import Inputs
from infocl.report.plots import FIRST, SECOND, STYLE, legend_above, svg
from infocl.results.comparison import SOURCE, ComparedTask
from infocl.results.reading import FewLabels, TaskResult


class EfficiencyCurve(NamedTuple):
    """A task, its picture, and the figures behind it as rows of text."""

    name: str
    drawing: Markup
    columns: list[str]
    rows: list[list[str]]


def efficiency_curves(inputs: Inputs) -> list[EfficiencyCurve]:
    """A picture for each task of classes that was tried with few labels."""
    results = ({SOURCE: inputs.probe.source} if inputs.probe.source else {}) | inputs.transfer.targets
    found = []
    for key, task in inputs.compared.tasks.items():
        result = results.get(key)
        if result is not None and result.label_efficiency:
            found.append(_curve(task, result, regularised=inputs.compared.regularizer != "none"))
    return found


def _curve(task: ComparedTask, result: TaskResult, *, regularised: bool) -> EfficiencyCurve:
    own = "regularised" if regularised else "plain"
    ends = {own: result.score}
    lines: dict[str, Sequence[FewLabels]] = {own: result.label_efficiency}
    if regularised and task.plain_label_efficiency and task.plain is not None:
        lines["plain"], ends["plain"] = task.plain_label_efficiency, task.plain
    rows = [
        [point.labels, f"{point.images:,}", *(_said(line[at]) for line in lines.values())]
        for at, point in enumerate(result.label_efficiency)
    ]
    rows.append(["all", f"{result.train_images:,}", *(f"{100 * ends[name]:.1f} %" for name in lines)])
    return EfficiencyCurve(task.name, _draw(task.name, lines, ends, result.train_images), list(lines), rows)


def _said(point: FewLabels) -> str:
    spread = f" ({100 * point.ci95[0]:.1f} to {100 * point.ci95[1]:.1f})" if point.ci95 else ""
    return f"{100 * point.accuracy:.1f}{spread} %"


def _draw(name: str, lines: dict[str, Sequence[FewLabels]], ends: dict[str, float], every: int) -> Markup:
    with mpl.rc_context(STYLE | {"svg.hashsalt": f"few-{name}"}):
        figure = Figure(figsize=(4.8, 2.9), layout="constrained")
        axes = figure.subplots()
        for kind, line in lines.items():
            colour = SECOND if kind == "plain" else FIRST
            images = [point.images for point in line]
            axes.plot(
                [*images, every],
                [100 * score for score in (*(p.accuracy for p in line), ends[kind])],
                color=colour,
                marker="o",
                markersize=3.5,
                label=kind,
            )
            bounds = [point.ci95 or (point.accuracy, point.accuracy) for point in line]
            low, high = ([100 * end for end in side] for side in zip(*bounds, strict=True))
            axes.fill_between(images, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set_xscale("log")
        axes.set(xlabel="labelled training images", ylabel="accuracy in %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        legend_above(axes, len(lines))
        return svg(figure, f"few-{name}", f"Accuracy on {name} by the number of labelled training images.")
