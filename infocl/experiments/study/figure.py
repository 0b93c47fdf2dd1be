"""A study as one picture: per task what needs no training, each objective alone, and each regulariser."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from infocl.config.titles import objective_title
from infocl.experiments.study.judge import Judgement
from infocl.experiments.study.plan import CONTROL
from infocl.experiments.study.record import Study
from infocl.experiments.study.show import judged
from infocl.experiments.table.build import term_label
from infocl.experiments.table.stats import Estimate
from infocl.report.plots import COLOURS, FIRST, INK, SECOND, SOFT, STYLE, svg
from infocl.results.comparison import TITLES_OF_KINDS

CARD = "#060606"  # as in `COLOURS`: known only when it is shown
ROW, HEAD, WIDTH = 0.24, 1.15, 10.4  # inches
SAID = (
    "Accuracy on test images in %, mean over seeds with 95 % interval. Dashed: the objective alone. "
    "Filled: differs from it, after correction for all comparisons."
)


class Row(NamedTuple):
    """A row of the picture; `shown` are the tasks whose difference is shown."""

    title: str
    accuracy: Mapping[str, Estimate]
    colour: str
    marker: str
    shown: Sequence[str]


def draw_study(study: Study) -> str:
    """The picture as SVG, which is light or dark as its reader's system is.

    Raises:
        UserError: none of the study is finished.
    """
    baselines, judgements = judged(study)
    groups = [
        [Row(TITLES_OF_KINDS[kind], found, SOFT, "s", list(found)) for kind, found in baselines.items()]
    ]
    by_objective: dict[str, list[Judgement]] = {}
    for one in judgements:
        by_objective.setdefault(one.method.objective, []).append(one)
    groups += [[_row(one) for one in group] for group in by_objective.values()]
    tasks = list(judgements[0].accuracy)
    height = HEAD + ROW * (sum(map(len, groups)) + len(groups))
    with mpl.rc_context(STYLE | {"svg.hashsalt": "study", "axes.grid.axis": "x"}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        every = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axes, task in zip(every, tasks, strict=True):
            _draw(axes, task, [group for group in groups if group])
        figure.supxlabel(SAID, color=SOFT, fontsize=9)
        drawing = str(svg(figure, "study", _words(study, tasks)))
    return _standing_alone(drawing.replace(CARD, "var(--card)"))


def _row(one: Judgement) -> Row:
    method = one.method
    if method.regularizer == CONTROL:
        return Row(objective_title(method.objective), one.accuracy, SECOND, "o", list(one.accuracy))
    title = term_label(method.regularizer, method.weight, method.knob)
    shown = [task for task, effect in one.effects.items() if effect.shown]
    return Row(f"+ {title}", one.accuracy, FIRST, "o", shown)


def _draw(axes: Axes, task: str, groups: Sequence[Sequence[Row]]) -> None:
    at, places, titles = 0.0, [], []
    for group in groups:
        alone = group[0].accuracy.get(task) if group[0].colour == SECOND else None
        if alone:
            axes.plot(
                2 * [100 * alone.mean], [at - 0.4, at + len(group) - 0.6], color=SECOND, ls=(0, (3, 3)), lw=1
            )
        for row in group:
            if found := row.accuracy.get(task):
                mean, half = 100 * found.mean, 100 * (found.half_width or 0)
                ends = [max(0, mean - half), min(100, mean + half)]
                axes.plot(ends, [at, at], color=row.colour, clip_on=False)
                fill = row.colour if task in row.shown else CARD
                axes.plot(mean, at, row.marker, ms=6, color=row.colour, markerfacecolor=fill, clip_on=False)
            places.append(at)
            titles.append(row.title)
            at += 1
        at += 0.6
    axes.set_title(task, color=INK, fontsize=11)
    axes.set_xlim(0, 100)
    axes.set_ylim(at - 0.9, -0.7)
    axes.set_yticks(places, titles, color=INK)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(PercentFormatter(symbol=""))


def _words(study: Study, tasks: Sequence[str]) -> str:
    methods = len({run.method for run in study.runs})
    seeds = len({run.seed for run in study.runs})
    return (
        f"Accuracy of {methods} methods over {seeds} seeds on {', '.join(tasks)}; the table has the figures."
    )


def _standing_alone(drawing: str) -> str:
    """An SVG file of its own, with the colours and the font of the report's page."""
    style = files("infocl.report").joinpath("style.css").read_text(encoding="utf-8").partition("\n* {")[0]
    used = "|".join(sorted({*COLOURS, "card", "sans"}))
    kept = re.sub(rf"--(?!(?:{used})\b)[a-z-]+: [^;]*;", "", style)
    rules = f"{kept}\nsvg {{ background: var(--card) }}\ntext {{ font-family: var(--sans) }}"
    return re.sub(r"(<svg [^>]*>)", lambda found: f"{found[1]}\n<style>\n{rules}\n</style>", drawing, count=1)
