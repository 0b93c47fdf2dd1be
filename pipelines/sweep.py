"""`infocl sweep`: DVC experiments over a grid of params, each a task, and their table."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from infocl.config.file import PARAMS_FILE, read_yaml
from infocl.experiments.overrides import parse_overrides, validated
from infocl.experiments.table.experiments import Experiment, read_experiments
from infocl.runtime.errors import InfoCLError, UserError
from pipelines.commands import output_of
from pipelines.experiment import run
from pipelines.interrupts import keep_listening
from pipelines.pool import name_of, require_pool, run_on_pool
from pipelines.reports import plain_name
from pipelines.repository import head, require_repository
from pipelines.reproduce import RETRY_SECONDS, patient

LAST = ("transfer", "export", "report")  # stages after which there is something to show


@flow(name="sweep", persist_result=False)
def sweep(
    overrides: list[str], until: str = "report", pool: str | None = None, git_remote: str = "origin"
) -> State[Any]:
    """Run one DVC experiment for each combination of values: here, one after the other, or on a work pool.

    Args:
        overrides: such as ["reg.weight=0,0.1,1", "seed=0,1,2"], by the grammar of `dvc exp run -S`.
        until: the last stage to run; `transfer` suffices for the table.
        pool: a Prefect work pool whose workers run them in clones of their own; none: this clone does.
        git_remote: by which a pool's workers get the code and hand over experiments.
    """
    keep_listening()
    log = get_run_logger()
    require_repository()
    require_table(until)
    grid = expand(overrides)
    commit = head()
    if pool is None:
        run_name = plain_name(str(flow_run.get_name()))
        named = {f"{run_name}-{number:03}": settings for number, settings in enumerate(grid, 1)}
        failed = _run_here(named, until)
    else:
        require_pool(pool, git_remote)
        named = {name_of(commit, settings, until): settings for settings in grid}
        failed = run_on_pool(pool, git_remote, commit, named, until, log.info)
    rows = table_rows(named, failed, commit)
    create_table_artifact(rows, key="sweep", description=" ".join(overrides))
    create_markdown_artifact(markdown(rows), key="sweep-summary", description=" ".join(overrides))
    for line in markdown(rows).splitlines():
        log.info(line)
    message = f"{len(named) - len(failed)} of {len(named)} experiments are done; `dvc exp show` has them."
    if len(failed) == len(named):
        raise InfoCLError(f"every experiment failed; the first: {next(iter(failed.values()))}")
    return Completed(message=message)


def _run_here(grid: Mapping[str, Sequence[str]], until: str) -> dict[str, str]:
    """Why, for each experiment that failed."""
    log, failed = get_run_logger(), dict[str, str]()
    log.info(f"{len(grid)} experiments.")
    for name, settings in grid.items():
        try:
            patient(run, RETRY_SECONDS)(name, settings, until)
        except InfoCLError as error:
            failed[name] = str(error)
            log.error(f"{' '.join(settings)}: {error}")
    return failed


def require_table(until: str) -> None:
    """Refuse a last stage that leaves nothing for the table.

    Raises:
        UserError: so it is.
    """
    if until not in LAST:
        raise UserError(
            f"a sweep cannot end with {until}, its table needs more; use one of {', '.join(LAST)}"
        )


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """All combinations of the values of several overrides, each checked against params.yaml.

    Raises:
        UserError: an override cannot be read, or a combination is not valid.
    """
    if not overrides:
        raise UserError("a sweep needs values, such as -S reg.weight=0,0.1,1")
    choices = []
    for override in parse_overrides(overrides):
        values = list(override.sweep_string_iterator()) if override.is_sweep_override() else None
        key = override.get_key_element()
        choices.append([f"{key}={value}" for value in values or [override.get_value_element_as_str()]])
    grid = [list(combination) for combination in itertools.product(*choices)]
    raw = read_yaml(PARAMS_FILE)
    for settings in grid:
        validated(raw, settings)
    return grid


def table_rows(
    grid: Mapping[str, Sequence[str]], failed: Mapping[str, str], commit: str
) -> list[dict[str, Any]]:
    """A row for each experiment from a commit: its settings, accuracies in %, or why it failed."""
    shown = output_of(["dvc", "exp", "show", "--json", "--rev", commit])
    by_name = {run.name: run for run in read_experiments(shown, partly_run=True).finished}
    return [
        _row(name, settings, None if name in failed else by_name.get(name), failed.get(name))
        for name, settings in grid.items()
    ]


def _row(name: str, settings: Sequence[str], run: Experiment | None, failure: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"experiment": name}
    row |= dict(setting.partition("=")[::2] for setting in settings)
    if run is None:
        return row | {"mean transfer %": None, "note": failure or "not found"}
    row["mean transfer %"] = round(100 * run.mean, 1)
    row["source %"] = None if run.source is None else round(100 * run.source, 1)
    return row | {f"{target} %": round(100 * value, 1) for target, value in run.targets.items()}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table, the best mean first."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    ranked = sorted(rows, key=lambda row: -(row.get("mean transfer %") or -1.0))
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    cells = [["" if row.get(column) is None else str(row[column]) for column in columns] for row in ranked]
    lines += [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join(lines)
