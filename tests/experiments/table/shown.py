"""What `dvc exp show --json` prints, made up."""

from __future__ import annotations

import copy
import itertools
import json

from infocl.experiments.table.build import build_sections
from infocl.experiments.table.experiments import read_experiments
from tests.workspace import SHIPPED

TARGETS = ["hue", "digits"]
HASHES = {"models/pretrain": {"hash": "a"}, "models/features": {"hash": "b"}}
COUNTER = itertools.count()


def params(**changes):
    """params.yaml with changes such as `reg__weight=0.1`."""
    raw = copy.deepcopy(SHIPPED)
    raw["transfer"]["targets"] = TARGETS
    for name, value in changes.items():
        *parents, last = name.split("__")
        node = raw
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return raw


def experiment(accuracy, *, state="success", source=0.5, rev=None, time=None, deps=HASHES, **changes):
    """One row of `dvc exp show --json`; `accuracy` of each target."""
    raw = params(**changes)
    number = next(COUNTER)
    rows = {target: {"accuracy": value} for target, value in zip(TARGETS, accuracy, strict=True)}
    probe = {"rankme": 3.0} if source is None else {"rankme": 3.0, "accuracy": source}
    data = {
        "timestamp": time or f"2026-01-01T00:00:{number % 60:02}",
        "params": {"params.yaml": {"data": raw}},
        "metrics": {
            "metrics/transfer.json": {"data": rows | {"mean_accuracy": -1}},
            "metrics/probe.json": {"data": probe},
        },
        "deps": dict(deps),
        "outs": HASHES,
    }
    executor = {"state": state} if state else None
    rev = rev or f"{number:040x}"
    return {
        "revs": [{"rev": rev, "name": None, "error": None, "data": data}],
        "executor": executor,
        "name": rev,
    }


def shown(*rows):
    return json.dumps([{"rev": "workspace", "experiments": None}, {"rev": "0", "experiments": list(rows)}])


def sections(*rows, published=None):
    return build_sections(read_experiments(shown(*rows)).finished, published)


def runs_of(regularizer, means, **changes):
    """One experiment for each seed, whose two targets average to the value."""
    return [
        experiment((mean - 0.1, mean + 0.1), reg__name=regularizer, seed=seed, **changes)
        for seed, mean in enumerate(means)
    ]
