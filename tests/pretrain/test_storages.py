"""Pretraining from every storage: the same weights, killed or not, bit for bit; any storage goes on."""

from __future__ import annotations

import pytest

from infocl.prepared import shards
from infocl.prepared.reader import load_prepared
from infocl.prepared.sharding import write_shards
from infocl.pretrain import training as stage
from infocl.pretrain.loading import sampler as order
from infocl.runtime.paths import PREPARED, PRETRAIN
from tests.pretrain.test_pretrain import same, train_and_kill, weights
from tests.workspace import tiny_params, write_prepared


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shards, "SHARD_BYTES", 7 * 3 * 32**2)
    monkeypatch.setattr(order, "WINDOW_SHARDS", 3)
    write_shards(load_prepared(write_prepared(PREPARED)), "shards")


def params(storage, shuffle):
    knobs = {"train__storage": storage, "train__shuffle": shuffle, "train__shards": "shards"}
    return tiny_params(train__epochs=3, **knobs)


@pytest.mark.parametrize(
    ("shuffle", "storages"),
    [("global", ("mapped", "sharded", "mapped")), ("shards", ("mapped", "resident", "sharded"))],
)
def test_killed_and_continued_from_others_it_ends_as_one_that_was_resident_and_not_killed(
    workspace, monkeypatch, capsys, shuffle, storages
):
    stage.pretrain(params("resident", shuffle))
    whole, pictures = weights(), (PRETRAIN / "views.npy").read_bytes()
    for storage, step in zip(storages, (4, 7), strict=False):
        train_and_kill(params(storage, shuffle), monkeypatch, at=step)
    stage.pretrain(params(storages[-1], shuffle))
    assert "Continuing from step 6 of 9" in capsys.readouterr().err
    assert same(weights(), whole)
    assert (PRETRAIN / "views.npy").read_bytes() == pictures
