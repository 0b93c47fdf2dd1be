"""A study as a table in the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from infocl.experiments.study.judge import Accuracies, Judgement, judge, points, sentence
from infocl.experiments.study.plan import CONTROL, Method
from infocl.experiments.study.record import BASELINES, Study
from infocl.experiments.table.stats import Estimate, estimate, in_percent
from infocl.results.comparison import TITLES_OF_KINDS
from infocl.runtime.console import Output
from infocl.runtime.errors import UserError
from infocl.runtime.text import counted

STYLES = ("terminal", "markdown", "json")
Baselines = Mapping[str, Mapping[str, Estimate]]  # by kind and task
PIPED_WIDTH = 200  # columns, where the output is no terminal
ABOUT = (
    "Accuracies in %; below each method its difference to the objective alone, in points, paired over seeds.",
    "± is half the 95 % interval over seeds (Student's t).",
    "Marked *: p < 0.05 after Holm's correction for all differences of this study; only these have words.",
)


def print_study(study: Study, style: str, *, with_commands: bool = False) -> None:
    """Print what the runs of a study say.

    Args:
        study: with its runs.
        style: one of `STYLES`.
        with_commands: also say how the runs were made.

    Raises:
        UserError: none of the study is finished.
    """
    baselines, judgements = judged(study)
    notes = [sentence(one) for one in judgements if one.method.regularizer != CONTROL]
    if study.missing:
        planned = len(study.runs) + len(study.missing)
        notes.append(f"{counted(len(study.missing), 'experiment')} of {planned} not finished.")
    if style == "json":
        print(json.dumps(_as_json(judgements, baselines, notes), indent=1))
        return
    rows = list(_rows(judgements, baselines))
    quote = "`" if style == "markdown" else ""
    made = [f"Made by {quote}{command}{quote}." for command in study.commands] if with_commands else []
    if style == "markdown":
        rule = ["---", *["---:"] * (len(rows[0]) - 1)]
        print("\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]]))
        print("\n" + "\n".join(f"- {note}" for note in [*ABOUT, *notes, *made]))
    else:
        _to_terminal(rows, [*ABOUT, *notes, *made])


def judged(study: Study) -> tuple[Baselines, list[Judgement]]:
    """Means over seeds of what is not trained here, by kind and task, and of each method, with its effects.

    Raises:
        UserError: none of the study is finished.
    """
    measured: dict[Method, dict[int, Accuracies]] = defaultdict(dict)
    values: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in BASELINES}
    seen = set()
    for run in study.runs:
        measured[run.method][run.seed] = run.accuracy
        for kind in BASELINES:
            for task, accuracy in getattr(run, kind).items():
                if (kind, task, run.seed) not in seen:  # the same beside every objective
                    seen.add((kind, task, run.seed))
                    values[kind][task].append(accuracy)
    if not measured:
        raise UserError("no experiment of this study is finished; run it without --show")
    baselines = {
        kind: {task: known for task, found in tasks.items() if (known := estimate(found))}
        for kind, tasks in values.items()
        if tasks
    }
    return baselines, judge(measured)


def _rows(judgements: Sequence[Judgement], baselines: Baselines) -> Iterator[list[str]]:
    tasks = list(judgements[0].accuracy)
    yield ["model", "seeds", *tasks]
    for kind, figures in baselines.items():
        yield [TITLES_OF_KINDS[kind], _seeds(figures), *(in_percent(figures.get(task)) for task in tasks)]
    for one in judgements:
        yield [
            one.method.title,
            _seeds(one.accuracy),
            *(in_percent(one.accuracy.get(task)) for task in tasks),
        ]
        if one.effects:
            effects = [one.effects.get(task) for task in tasks]
            cells = [f"{points(e.difference)}{'*' if e.shown else ''}" if e else "-" for e in effects]
            yield ["  difference", "", *cells]


def _seeds(figures: Mapping[str, Estimate]) -> str:
    return str(max(found.seeds for found in figures.values()))


def _to_terminal(rows: Sequence[Sequence[str]], notes: Sequence[str]) -> None:
    out = Output(PIPED_WIDTH)
    table = Table()
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows[1:]:
        table.add_row(*row)
    out.print(table)
    for note in notes:
        out.print(note)


def _as_json(
    judgements: Sequence[Judgement],
    baselines: Baselines,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Shares in 0..1; `half_width` is half the 95 % interval."""
    return {
        "baselines": {
            kind: {task: found._asdict() for task, found in figures.items()}
            for kind, figures in baselines.items()
        },
        "methods": [
            {
                **one.method._asdict(),
                "accuracy": {task: found._asdict() for task, found in one.accuracy.items()},
                "difference": {
                    task: effect.difference._asdict() | {"p_holm": effect.p}
                    for task, effect in one.effects.items()
                },
            }
            for one in judgements
        ],
        "sentences": list(notes),
    }
