"""Pretraining from every storage: the same weights, killed or not, bit for bit; any storage goes on."""

from __future__ import annotations

import pytest

from infocl.prepared.reader import load_prepared
from infocl.pretrain import training as stage
from infocl.pretrain.loading import sampler as order
from infocl.pretrain.loading.shards import write_shards
from infocl.runtime.paths import PREPARED, PRETRAIN
from tests.test_pretrain import same, train_and_kill, weights
from tests.workspace import tiny_params, write_prepared

STORAGES = ["resident", "mapped", "sharded"]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(order, "SHARD_BYTES", 7 * 3 * 32**2)
    monkeypatch.setattr(order, "WINDOW_SHARDS", 3)
    write_shards(load_prepared(write_prepared(PREPARED)), "shards")


def params(storage, shuffle):
    knobs = {"train__storage": storage, "train__shuffle": shuffle, "train__shards": "shards"}
    return tiny_params(train__epochs=3, **knobs)


@pytest.mark.parametrize("shuffle", ["global", "shards"])
@pytest.mark.parametrize("storage", STORAGES)
def test_killed_and_continued_it_ends_as_one_that_was_resident_and_not_killed(
    workspace, monkeypatch, capsys, storage, shuffle
):
    stage.pretrain(params("resident", shuffle))
    whole, pictures = weights(), (PRETRAIN / "views.npy").read_bytes()
    train_and_kill(params(storage, shuffle), monkeypatch, at=7)
    stage.pretrain(params(storage, shuffle))
    assert "Continuing from step 6 of 9" in capsys.readouterr().err
    assert same(weights(), whole)
    assert (PRETRAIN / "views.npy").read_bytes() == pictures


def test_a_run_goes_on_from_another_storage(workspace, monkeypatch, capsys):
    stage.pretrain(params("resident", "shards"))
    whole = weights()
    train_and_kill(params("mapped", "shards"), monkeypatch, at=4)
    train_and_kill(params("sharded", "shards"), monkeypatch, at=7)
    stage.pretrain(params("resident", "shards"))
    assert "Continuing from step 6 of 9" in capsys.readouterr().err
    assert same(weights(), whole)


def test_the_shuffle_shapes_the_weights(workspace):
    stage.pretrain(params("resident", "global"))
    first = weights()
    stage.pretrain(params("resident", "shards"))
    assert not same(weights(), first)
