"""A study as a table in the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from infocl.experiments.study.judge import Accuracies, Judgement, judge, points, sentence
from infocl.experiments.study.plan import CONTROL, Method, Planned
from infocl.experiments.table.experiments import Experiment
from infocl.experiments.table.stats import Estimate, estimate
from infocl.results.comparison import TITLES_OF_KINDS
from infocl.runtime.console import Output
from infocl.runtime.errors import UserError
from infocl.runtime.text import counted

STYLES = ("terminal", "markdown", "json")
WITHOUT_TRAINING = ("raw", "untrained")  # what the stage compare judges and a study shows
SOURCE = "source"
PIPED_WIDTH = 200  # columns, where the output is no terminal
ABOUT = (
    "Accuracies in %; below each method its difference to the objective alone, in points, paired over seeds.",
    "± is half the 95 % interval over seeds (Student's t).",
    "* p < 0.05 after Holm's correction for all differences of this study; only these have words below.",
)


def print_study(planned: Sequence[Planned], finished: Mapping[str, Experiment], style: str) -> None:
    """Print what the finished experiments of a study say.

    Args:
        planned: all experiments of the study.
        finished: experiments by name, others among them.
        style: one of `STYLES`.

    Raises:
        UserError: none of the study is finished.
    """
    measured: dict[Method, dict[int, Accuracies]] = defaultdict(dict)
    for one in planned:
        if one.name in finished:
            measured[one.method][one.seed] = _accuracies(finished[one.name])
    if not measured:
        raise UserError("no experiment of this study is finished; run it without --show")
    baselines = _baselines([finished[one.name] for one in planned if one.name in finished])
    judgements = judge(measured)
    notes = [sentence(one) for one in judgements if one.method.regularizer != CONTROL]
    count = len(planned) - sum(len(runs) for runs in measured.values())
    if count:
        notes.append(f"{counted(count, 'experiment')} of {len(planned)} not finished.")
    if style == "json":
        print(json.dumps(_as_json(judgements, baselines, notes), indent=1))
        return
    rows = list(_rows(judgements, baselines))
    if style == "markdown":
        print("\n".join(f"| {' | '.join(row)} |" for row in [rows[0], _rule(rows[0]), *rows[1:]]))
        print("\n" + "\n".join(f"- {note}" for note in [*ABOUT, *notes]))
    else:
        _to_terminal(rows, [*ABOUT, *notes])


def _accuracies(run: Experiment) -> Accuracies:
    return ({} if run.source is None else {SOURCE: run.source}) | run.targets


def _baselines(runs: Sequence[Experiment]) -> dict[str, dict[str, Estimate]]:
    """Means over seeds of what needs no training, by kind and task."""
    values: dict[str, dict[str, dict[int, float]]] = {kind: defaultdict(dict) for kind in WITHOUT_TRAINING}
    for run in runs:
        if run.params["reg"]["name"] == CONTROL:
            for task, figures in run.compared.items():
                for kind in WITHOUT_TRAINING:
                    if figures.get(kind) is not None:
                        values[kind][task][run.seed] = figures[kind]
    return {
        kind: {task: known for task, by_seed in tasks.items() if (known := estimate(list(by_seed.values())))}
        for kind, tasks in values.items()
        if tasks
    }


def _rows(
    judgements: Sequence[Judgement], baselines: Mapping[str, Mapping[str, Estimate]]
) -> Iterator[list[str]]:
    tasks = list(judgements[0].accuracy)
    yield ["model", "seeds", *tasks]
    for kind, figures in baselines.items():
        yield [TITLES_OF_KINDS[kind], _seeds(figures), *(_share(figures.get(task)) for task in tasks)]
    for one in judgements:
        yield [one.method.title, _seeds(one.accuracy), *(_share(one.accuracy.get(task)) for task in tasks)]
        if one.effects:
            effects = [one.effects.get(task) for task in tasks]
            cells = [f"{points(e.difference)}{'*' if e.shown else ''}" if e else "-" for e in effects]
            yield ["  difference", "", *cells]


def _seeds(figures: Mapping[str, Estimate]) -> str:
    return str(max(found.seeds for found in figures.values()))


def _share(found: Estimate | None) -> str:
    if found is None:
        return "-"
    half = "" if found.half_width is None else f" ± {100 * found.half_width:.1f}"
    return f"{100 * found.mean:.1f}{half}"


def _rule(header: Sequence[str]) -> list[str]:
    return ["---", *["---:"] * (len(header) - 1)]


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
    baselines: Mapping[str, Mapping[str, Estimate]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Shares in 0..1; `half_width` is half the 95 % interval."""
    return {
        "without_training": {
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
