"""Stage report: render everything into one file that needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from infocl.config import Params
from infocl.config.titles import method
from infocl.export.model_card import limits, usage_example
from infocl.report.audit import heat_rows
from infocl.report.claim import claims
from infocl.report.classes import class_reports
from infocl.report.efficiency import efficiency_curves
from infocl.report.inputs import Inputs, read_inputs
from infocl.report.left import neighbour_sheets, rebuilt_rows
from infocl.report.maps import map_pairs
from infocl.report.pictures import Picture, draw_sheet
from infocl.report.plots import draw_panel, training_panels
from infocl.report.tasks import duration, group_tasks, headline, other_kinds, verdict
from infocl.results.comparison import MEANINGS, ONE_SEED, TITLES_OF_KINDS
from infocl.results.reading import ProbeResult
from infocl.runtime.files import write_bytes, write_text
from infocl.runtime.paths import REPORT
from infocl.runtime.text import counted, file_size, interval, named, percent


@dataclass(frozen=True)
class Diagnostic:
    """A number about the features and what it means; on a scale between two `ends`, its `place` in 0..1."""

    name: str
    value: str
    words: str
    ends: tuple[str, str] | None = None
    place: float = 0.0


def build_report(params: Params) -> dict[str, Any]:
    """Write `report/index.html`, and the sheet of views once more as `report/views.png` for `dvc plots`.

    Returns:
        `bytes` of the page and the number of its `figures`.

    Raises:
        UserError: a file of the run is missing, damaged, or of another run.
    """
    inputs = read_inputs(params)
    context = _context(inputs)
    page = _environment().get_template("page.html").render(context)
    write_bytes(REPORT.with_name("views.png"), context["views"].png)
    write_text(REPORT, page)
    return {"bytes": len(page.encode()), "figures": page.count("<figure")}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("infocl", "report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda share: unbroken(percent(share)),
        "interval": lambda bounds: unbroken(interval(bounds)),
        "unbroken": unbroken,
        "size": file_size,
        "duration": duration,
        "data_uri": _data_uri,
    }
    return environment


def _context(inputs: Inputs) -> dict[str, Any]:
    config = inputs.config
    groups = group_tasks(inputs)
    panels = training_panels(inputs.history, float(config["reg_weight"]))
    return {
        "inputs": inputs,
        "style": Markup(files("infocl.report").joinpath("style.css").read_text(encoding="utf-8")),
        "method": method(config["objective"], config["regularizer"], config["reg_weight"]),
        "headline": headline(inputs),
        "verdict": verdict(inputs),
        "limits": limits(task.result for group in groups for task in group.tasks),
        "views": draw_sheet(inputs.views),
        "rebuilt": rebuilt_rows(inputs.left),
        "neighbours": neighbour_sheets(inputs.left, inputs.data),
        "claims": claims(inputs.compared),
        "audit": heat_rows(inputs.audited),
        "kinds": {kind: TITLES_OF_KINDS[kind] for kind in inputs.compared.kinds},
        "meanings": MEANINGS if any(task.verdict for task in inputs.compared.tasks.values()) else {},
        "titles": TITLES_OF_KINDS,
        "one_seed": ONE_SEED,
        "classes": class_reports(inputs),
        "data_notes": data_notes(inputs.data.meta),
        "efficiency": efficiency_curves(inputs),
        "groups": groups,
        "other_kinds": other_kinds(inputs),
        "panels": [(panel, draw_panel(panel, inputs.history["epoch"])) for panel in panels],
        "maps": map_pairs(inputs),
        "diagnostics": _diagnostics(inputs.probe),
        "longest": max(cost.seconds for cost in inputs.costs.values()) or 1.0,
        "usage": usage_example(inputs.about),
        "params": _as_yaml(inputs.params),
    }


def data_notes(meta: Mapping[str, Any]) -> list[str]:
    """What the preparation of a folder left out, and what it warned of."""
    notes = [f"{count:,} {kind} left out" for kind, count in meta.get("rejected", {}).items()]
    if lost := meta.get("lost_classes"):
        classes = counted(len(lost), "class", "classes")
        notes.append(f"{classes} left out for want of images of use: {named(lost)}")
    if near := meta.get("near_duplicates"):
        notes.append(f"{near:,} test images nearly equal to a training image")
    return notes


def _diagnostics(probe: ProbeResult) -> list[Diagnostic]:
    ceiling = probe.info_nce_ceiling_nats
    return [
        Diagnostic(
            "Effective rank (RankMe)",
            f"{probe.rankme:.1f} of {probe.dim}",
            "How many directions the features really use; more leaves more for other tasks to read.",
            ("1", str(probe.dim)),
            (probe.rankme - 1) / max(1, probe.dim - 1),
        ),
        Diagnostic(
            "Dead units",
            percent(probe.dead_units),
            "Features that are the same for every image and so tell nothing.",
            ("0 %", "100 %"),
            probe.dead_units,
        ),
        Diagnostic(
            "Shared information (InfoNCE)",
            f"{probe.info_nce_nats:.2f} nats",
            "A lower bound on what the features of two views of an unseen image share, from "
            f"{probe.view_images:,} test images.",
            ("0", f"at most {ceiling:.2f} nats"),
            probe.info_nce_nats / ceiling,
        ),
        Diagnostic(
            "Alignment",
            f"{probe.alignment:.3f}",
            "Mean squared distance between the unit features of two views of one image; lower is closer.",
            ("0: views agree", "2: unrelated"),
            probe.alignment / 2,
        ),
        Diagnostic(
            "Uniformity",
            _signed(probe.uniformity),
            "How evenly unit features cover the sphere (logarithm of a mean potential); lower is more even.",
            ("0: all alike", "−4: spread out"),
            -probe.uniformity / 4,
        ),
        Diagnostic(
            "Length of the features",
            f"{probe.feature_norm:.3g}",
            "Mean L2 norm. The probe does not depend on it, but how much noise of fixed strength blurs does.",
        ),
    ]


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def unbroken(text: str) -> str:
    """Text in which no line ends between a number and its sign."""
    return text.replace(" %", "\u00a0%").replace("λ = ", "λ\u00a0=\u00a0")


def _as_yaml(params: Params) -> str:
    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style = None
    yaml.dump(params.model_dump(), text)
    return text.getvalue()


def _data_uri(picture: Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.png).decode()
