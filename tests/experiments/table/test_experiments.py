"""Which experiments are finished."""

from __future__ import annotations

import json

from infocl.experiments.table.experiments import read_experiments
from tests.experiments.table.shown import HASHES, experiment, shown


def test_unfinished_experiments_are_left_out_and_counted():
    stale = HASHES | {"models/pretrain": {"hash": "of another run"}}
    partly = experiment((0.5, 0.5))
    del partly["revs"][0]["data"]["metrics"]["metrics/transfer.json"]["data"]["hue"]
    empty = experiment((0.5, 0.5))
    empty["revs"][0]["data"] = None
    found = read_experiments(
        shown(
            experiment((0.5, 0.5), state=None),
            experiment((0.5, 0.5), state="running", rev="running"),
            experiment((0.5, 0.5), state="queued", rev="first"),
            experiment((0.5, 0.5), state="queued", rev="second"),
            experiment((0.5, 0.5), state="failed"),
            experiment((0.5, 0.5), deps=stale),
            partly,
            empty,
        )
    )
    assert len(found.finished) == 1
    assert found.left_out == {
        "running": 1,
        "queued": 2,
        "failed": 1,
        "partly run": 1,
        "without transfer metrics": 1,
        "unreadable": 1,
    }
    assert found.waiting == {"running", "first", "second"}


def test_an_experiment_shown_under_two_commits_counts_once():
    row = experiment((0.5, 0.5))
    text = json.dumps([{"rev": "1", "experiments": [row]}, {"rev": "2", "experiments": [row]}])
    assert len(read_experiments(text).finished) == 1
