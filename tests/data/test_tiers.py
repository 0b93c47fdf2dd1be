"""The same batches from the device, from disk, from shards in a folder and in a bucket; started anywhere."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from infocl.prepared import shards
from infocl.prepared.places import location_of
from infocl.prepared.reader import load_prepared
from infocl.prepared.sharding import write_shards
from infocl.prepared.shards import read_manifest, shard_count
from infocl.pretrain.loading import prefetch
from infocl.pretrain.loading import sampler as order
from infocl.pretrain.loading import storage as tiers
from infocl.pretrain.loading.storage import choose_storage, open_images, storage_for
from infocl.pretrain.parallel.process_group import ALONE, ProcessGroup
from infocl.runtime.errors import UserError
from infocl.runtime.paths import PREPARED, SHARDS
from tests.workspace import tiny_params, write_prepared

CPU = torch.device("cpu")
STORAGES = ["resident", "mapped", "sharded", "bucket"]
STEPS = 18  # two epochs


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """96 images in 14 shards, three of which are shuffled together."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shards, "SHARD_BYTES", 7 * 3 * 32**2)
    monkeypatch.setattr(order, "WINDOW_SHARDS", 3)
    return load_prepared(write_prepared(PREPARED))


@pytest.fixture
def opened(prepared, request):
    """Opens a storage; its shards are written where they are asked for."""
    there = []

    def opened(storage, shuffle="global", group=ALONE, **changes):
        url = {"sharded": "shards", "bucket": "s3://infocl/some/where"}.get(storage, "")
        if storage == "bucket":
            request.getfixturevalue("bucket")
        if url and url not in there:
            write_shards(prepared, url)
            there.append(url)
        storage = "sharded" if storage == "bucket" else storage
        knobs = {"train__storage": storage, "train__shards": url, "train__shuffle": shuffle}
        params = tiny_params(train__batch_size=10, **knobs, **changes)
        return open_images(params, prepared, group, CPU)

    return opened


def batches(images, first=0, last=STEPS):
    got = [images.batch(step) for step in range(first, last)]
    images.close()
    return got


def same(ours, theirs):
    return all(
        mine.equal(other) and my_labels.equal(their_labels)
        for (mine, my_labels), (other, their_labels) in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("shuffle", ["global", "shards"])
@pytest.mark.parametrize("storage", STORAGES[1:])
def test_batches_are_those_of_the_resident_images(opened, prepared, storage, shuffle):
    expected = batches(opened("resident", shuffle))
    rows = opened("resident", shuffle).order.rows(0).numpy()
    assert np.array_equal(expected[0][0].numpy(), prepared.pretrain.images[rows])
    assert np.array_equal(expected[0][1].numpy(), prepared.pretrain.labels[rows])
    assert same(batches(opened(storage, shuffle)), expected)
    sample = opened(storage, shuffle).sample(range(0, 96, 8))
    assert np.array_equal(sample.numpy(), prepared.pretrain.images[::8])


@pytest.mark.parametrize("shuffle", ["global", "shards"])
@pytest.mark.parametrize("storage", STORAGES)
def test_started_at_a_step_they_are_the_tail(opened, storage, shuffle):
    expected = batches(opened("resident", shuffle))
    for first in (1, 8, 13, 17):
        assert same(batches(opened(storage, shuffle), first), expected[first:])


@pytest.mark.parametrize("storage", STORAGES)
def test_any_step_may_follow_any_other(opened, storage):
    expected = batches(opened("resident", "shards"))
    images = opened(storage, "shards")
    for step in (3, 3, 0, 17, 9, 10, 4):
        assert same([images.batch(step)], [expected[step]])
    images.close()


@pytest.mark.parametrize("storage", STORAGES)
def test_processes_have_shares_of_the_same_batches(opened, storage):
    expected = batches(opened("resident", "shards"))
    shares = [batches(opened(storage, "shards", ProcessGroup(rank, 2))) for rank in range(2)]
    for whole, one, two in zip(expected, *shares, strict=True):
        assert torch.cat([one[0], two[0]]).equal(whole[0])
        assert one[1].equal(whole[1])
        assert two[1].equal(whole[1])


@pytest.mark.parametrize("storage", ["resident", "mapped"])
def test_without_labels_there_are_none(prepared, storage):
    unlabelled = load_prepared(write_prepared(PREPARED / "other", labelled=False))
    images = open_images(tiny_params(train__storage=storage), unlabelled, ALONE, CPU)
    assert images.batch(0)[1] is None
    images.close()


def test_nothing_is_read_beyond_the_last_step(opened, monkeypatch):
    asked = []
    images = opened("mapped")
    plan = images.source.plan
    monkeypatch.setattr(images.source, "plan", lambda rows, windows: asked.append(1) or plan(rows, windows))
    batches(images)
    assert len(asked) == STEPS
    assert prefetch.AHEAD > 1


def copies():
    return len(list(SHARDS.glob("*/*.bin")))


def test_copies_of_a_bucket_stay_where_the_disk_has_room(opened):
    batches(opened("bucket", "shards"))
    assert copies() == 14


def test_copies_go_with_their_window_where_the_disk_has_none(opened, monkeypatch):
    monkeypatch.setattr(shards, "has_room", lambda *_: False)
    expected = batches(opened("resident", "shards"))
    images, most = opened("bucket", "shards"), 0
    for step, (pixels, _) in enumerate(expected):
        assert images.batch(step)[0].equal(pixels)
        most = max(most, copies())
    images.close()
    assert 3 <= most < 14


def test_a_global_order_of_more_than_the_disk_holds_is_refused(opened, monkeypatch):
    monkeypatch.setattr(shards, "has_room", lambda *_: False)
    with pytest.raises(UserError, match=r"train\.shuffle global .* set train\.shuffle to shards"):
        opened("bucket")


def test_room_counts_what_is_there_already(opened, prepared, monkeypatch):
    batches(opened("bucket"))
    place = location_of("s3://infocl/some/where")
    size = read_manifest(place).size
    usage = shutil.disk_usage(".")
    for free, enough in ((0, False), (size, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        assert shards.has_room(place, read_manifest(place)) == enough


@pytest.mark.parametrize("storage", ["sharded", "bucket"])
def test_a_machine_without_the_prepared_images_reads_shards_by_itself(opened, prepared, storage, capsys):
    expected = batches(opened("resident"))
    opened(storage).close()
    prepared.images_file("train").unlink()
    url = {"sharded": "shards", "bucket": "s3://infocl/some/where"}[storage]
    params = tiny_params(train__batch_size=10, train__shards=url)
    capsys.readouterr()
    assert same(batches(open_images(params, load_prepared(PREPARED), ALONE, CPU)), expected)
    assert f"Images: 0.3 MiB, streamed from the shards in {url} (" in capsys.readouterr().err


def chosen(free, monkeypatch, *, there=True, size=100, copies=1, **changes):
    monkeypatch.setattr(tiers, "free_memory", lambda _: free)
    train = tiny_params(**changes).train
    return choose_storage(train, size, "images.npy", there=there, device=CPU, copies=copies)


def test_the_first_storage_that_serves_is_chosen(monkeypatch):
    assert chosen(200, monkeypatch).storage == "resident"
    assert chosen(199, monkeypatch).storage == "mapped"
    assert chosen(399, monkeypatch, copies=2).storage == "mapped"
    assert chosen(400, monkeypatch, copies=2).storage == "resident"
    assert chosen(200, monkeypatch, train__shards="s").storage == "resident"
    assert chosen(200, monkeypatch, there=False, train__shards="s").storage == "sharded"
    assert chosen(0, monkeypatch, train__storage="mapped").storage == "mapped"
    with pytest.raises(UserError, match=r"train\.storage resident needs .* set it to auto"):
        chosen(99, monkeypatch, train__storage="resident")


def test_the_choice_is_said_in_one_line(prepared, monkeypatch):
    monkeypatch.setattr(tiers, "free_memory", lambda _: 3 << 30)
    message = str(storage_for(tiny_params(), prepared, CPU, 1))
    assert message == f"0.3 MiB, resident on CPU, {torch.get_num_threads()} threads (3.0 GiB free)"
    message = str(storage_for(tiny_params(train__storage="mapped"), prepared, CPU, 1))
    assert message.startswith(
        "0.3 MiB, memory-mapped from data/prepared/train/images.npy (3.0 GiB free on CPU"
    )


def test_shards_are_what_the_order_expects(prepared):
    manifest = write_shards(prepared, "shards")
    assert len(manifest.shards) == shard_count(96, 32) == 14
    assert read_manifest(location_of("shards")) == manifest
    assert manifest.images_sha256 == prepared.pretrain.images_sha256
