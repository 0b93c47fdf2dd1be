"""Finished experiments, read from the output of `dvc exp show --json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from infocl.config.file import PARAMS_FILE
from infocl.config.transfer import named_tasks
from infocl.runtime.errors import UserError
from infocl.runtime.files import parse_json

PARTLY_RUN = "partly run"
WAITING = ("queued", "running")  # states of `dvc exp show`


class Experiment(NamedTuple):
    """One finished experiment; accuracies are shares in 0..1."""

    name: str
    revision: str
    finished: str  # ISO 8601 timestamp, sortable
    params: dict[str, Any]  # the content of params.yaml
    source: float | None  # None for data without labels
    targets: dict[str, float]
    compared: dict[str, dict[str, float]]  # of the stage compare, by task; stale where it was not run

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.params["seed"])

    @property
    def mean(self) -> float:
        """Mean accuracy over the targets."""
        return sum(self.targets.values()) / len(self.targets)


class Experiments(NamedTuple):
    """What was found: finished runs, how many others were left out, by reason, and which of these wait."""

    finished: list[Experiment]
    left_out: Counter[str]
    waiting: set[str]  # names of experiments that are queued or running


def read_experiments(text: str, *, partly_run: bool = False) -> Experiments:
    """The finished experiments in the output of `dvc exp show --json`.

    Workspace and commits are left out: their metrics may belong to other params than their params.yaml.
    So are experiments that are queued, running or failed, which DVC shows with the metrics of the
    commit that they started from, and those whose stages were not all run.

    Args:
        text: the output.
        partly_run: take those in as well, for callers who know that the stage transfer was run.

    Raises:
        UserError: the text is no such output.
    """
    try:
        finished, left_out, waiting = [], Counter[str](), set()
        for name, state, experiment in _experiments(parse_json(text)):
            data = experiment.get("data") or {}
            reason = _unfinished(state, experiment.get("error"), data)
            if reason and not (partly_run and reason == PARTLY_RUN):
                left_out[reason] += 1
                if state in WAITING:
                    waiting.add(name)
            elif run := _run(name, experiment["rev"], data):
                finished.append(run)
            else:
                left_out["without transfer metrics"] += 1
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"this is not the output of `dvc exp show --json` ({type(error).__name__}: {error})"
        ) from None
    return Experiments(finished, left_out, waiting)


def _experiments(commits: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, state of its executor, and content of every experiment, each once."""
    seen = set()
    for commit in commits:
        for row in commit["experiments"] or []:
            experiment = row["revs"][0]
            if experiment["rev"] not in seen:
                seen.add(experiment["rev"])
                name = row["name"] or experiment["rev"][:7]
                yield name, (row["executor"] or {}).get("state", "success"), experiment


def _unfinished(state: str, error: Any, data: Mapping[str, Any]) -> str | None:
    """Why an experiment has no result of its own; None when it has."""
    if state != "success":
        return state
    if error or not data:
        return "unreadable"
    outs = data["outs"] or {}
    stale = [path for path, dep in (data["deps"] or {}).items() if _differ(dep, outs.get(path))]
    return PARTLY_RUN if stale else None


def _differ(read: Mapping[str, Any], written: Mapping[str, Any] | None) -> bool:
    """Whether a stage read another content than the one that an earlier stage wrote."""
    return written is not None and read["hash"] != written["hash"]


def _run(name: str, revision: str, data: Mapping[str, Any]) -> Experiment | None:
    """The run, or None when its metrics do not cover its targets or none has an accuracy.

    Targets of numbers or of several labels have no place in a table of accuracies.
    """
    params = data["params"][PARAMS_FILE.name]["data"]
    probe, rows = _metrics(data, "probe"), _rows(data, "transfer")
    wanted = named_tasks(params)
    accuracies = {
        target: float(rows[target]["accuracy"]) for target in wanted if "accuracy" in rows.get(target, {})
    }
    if sorted(rows) != sorted(wanted) or not accuracies:
        return None
    return Experiment(
        name,
        revision,
        data["timestamp"] or "",
        params,
        float(probe["accuracy"]) if "accuracy" in probe else None,
        accuracies,
        _rows(data, "compare"),
    )


def _metrics(data: Mapping[str, Any], stage: str) -> dict[str, Any]:
    about = data["metrics"].get(f"metrics/{stage}.json") or {}
    return dict(about.get("data") or {})


def _rows(data: Mapping[str, Any], stage: str) -> dict[str, dict[str, Any]]:
    return {task: row for task, row in _metrics(data, stage).items() if isinstance(row, dict)}
