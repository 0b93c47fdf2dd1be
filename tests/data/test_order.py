"""The order of images: every one once per epoch, a pure function of seed and step."""

from __future__ import annotations

import pytest
import torch

from infocl.encoder.numerics import derive_seed
from infocl.prepared import shards
from infocl.prepared.shards import shard_count
from infocl.pretrain.loading import sampler as order
from infocl.pretrain.loading.sampler import ORDER, Order

COUNT, BATCH, SHARDS = 103, 5, 11


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(order, "WINDOW_SHARDS", 3)


def epoch_rows(images, epoch):
    per_epoch = images.batches_per_epoch
    return torch.cat([images.rows(step) for step in range(epoch * per_epoch, (epoch + 1) * per_epoch)])


@pytest.mark.parametrize("shards", [0, 1, 2, 3, 4, SHARDS, COUNT])
def test_an_epoch_visits_every_image_once_but_for_the_last_incomplete_batch(shards):
    epochs = [epoch_rows(Order(COUNT, BATCH, 0, shards), epoch) for epoch in range(3)]
    for rows in epochs:
        assert len(rows) == COUNT // BATCH * BATCH
        assert len(set(rows.tolist())) == len(rows)
        assert 0 <= rows.min() <= rows.max() < COUNT
    assert not epochs[0].equal(epochs[1])
    assert not epochs[0].equal(epoch_rows(Order(COUNT, BATCH, 1, shards), 0))


@pytest.mark.parametrize("shards", [0, SHARDS])
def test_a_step_is_found_without_those_before(shards):
    whole = Order(COUNT, BATCH, 0, shards)
    rows = [whole.rows(step) for step in range(60)]
    for step in (59, 0, 37, 20, 19):
        assert Order(COUNT, BATCH, 0, shards).rows(step).equal(rows[step])


def test_the_global_order_is_one_permutation_per_epoch():
    generator = torch.Generator().manual_seed(derive_seed(7, ORDER, 2))
    expected = torch.randperm(COUNT, generator=generator)[: COUNT // BATCH * BATCH]
    assert epoch_rows(Order(COUNT, BATCH, 7), 2).equal(expected)


def test_a_batch_reads_the_shards_of_its_windows_only():
    images = Order(COUNT, BATCH, 0, SHARDS)
    seen = []
    for step in range(2 * images.batches_per_epoch):
        windows = images.windows(step, step)
        near = {int(shard) for window in windows for shard in images.shards_of(window)}
        assert set((images.rows(step) % SHARDS).tolist()) <= near
        assert len(windows) <= 2
        seen += windows
    assert list(dict.fromkeys(seen)) == list(images.windows(0, 2 * images.batches_per_epoch - 1))
    assert len(set(seen)) == 8, "four windows of at most three shards in each of two epochs"


def test_each_shard_is_a_sample_of_sorted_images():
    classes = torch.arange(1000) // 100
    for shard in range(10):
        assert classes[shard::10].bincount(minlength=10).tolist() == [10] * 10


def test_shards_hold_at_most_their_bytes(monkeypatch):
    assert shard_count(1_000_000, 32) == 92
    assert shard_count(1, 32) == 1
    monkeypatch.setattr(shards, "SHARD_BYTES", 100)
    assert shard_count(7, 1024) == 7, "an image larger than a shard is one"
