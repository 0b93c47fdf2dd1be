"""Preparation writes what the readers expect, the same every time, and loses nothing when it fails."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from infocl.data.embedded.digits import load_plain_digits
from infocl.data.prepare import prepare_source, prepare_targets
from infocl.data.raw import RawSplit
from infocl.data.registry import CATALOG
from infocl.data.stream import ChannelStatistics
from infocl.prepared.reader import load_prepared, load_source
from infocl.pretrain.loading.resident import ResidentImages
from infocl.pretrain.loading.sampler import Order
from infocl.runtime.errors import UserError
from infocl.runtime.files import sha256_array, write_array
from infocl.runtime.paths import PREPARED, TARGETS
from tests.workspace import tiny_params


@pytest.fixture(autouse=True)
def _workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_source_is_written_and_read_back():
    metrics = prepare_source(tiny_params())
    assert metrics == {"data": "scenes", "classes": 10, "train_images": 96, "test_images": 48}
    prepared = load_prepared(PREPARED)
    train = prepared.split("train")
    assert train.images.shape == (96, 32, 32, 3)
    assert train.labels.shape == (96,)
    assert sha256_array(np.asarray(train.images)) == train.images_sha256
    assert prepared.pretrain.images_sha256 == train.images_sha256
    unit = np.asarray(train.images, float) / 255
    assert prepared.mean == pytest.approx(unit.mean((0, 1, 2)), abs=1e-6)
    assert prepared.std == pytest.approx(unit.std((0, 1, 2)), abs=1e-6)
    before = hashes(PREPARED)
    prepare_source(tiny_params())
    assert hashes(PREPARED) == before


def test_targets_share_their_images_and_old_ones_go():
    prepare_targets(tiny_params(transfer__targets=["scenes_hue", "scenes_tilt", "digits"]))
    assert {path.name for path in TARGETS.iterdir()} == {"scenes_hue", "scenes_tilt", "digits", "scenes"}
    assert not (TARGETS / "scenes_hue/train/images.npy").exists()
    hue, tilt = (load_prepared(TARGETS / name).split("test") for name in ("scenes_hue", "scenes_tilt"))
    assert np.array_equal(hue.images, tilt.images)
    assert hue.images_sha256 == tilt.images_sha256
    assert not np.array_equal(hue.labels, tilt.labels)
    metrics = prepare_targets(tiny_params(transfer__targets=["digits"]))
    assert {path.name for path in TARGETS.iterdir()} == {"digits"}
    assert metrics["digits_images"] == 1797


def test_a_target_shows_the_same_images_as_the_source():
    params = tiny_params(transfer__targets=["scenes_hue"])
    prepare_source(params)
    prepare_targets(params)
    source, target = load_prepared(PREPARED), load_prepared(TARGETS / "scenes_hue")
    for split in ("train", "test"):
        assert source.split(split).images_sha256 == target.split(split).images_sha256


def test_a_failure_leaves_what_was_there(tmp_path):
    prepare_source(tiny_params())
    prepare_targets(tiny_params(transfer__targets=["digits"]))
    before = hashes(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        prepare_source(tiny_params(data__name="folder", data__root="nowhere"))
    assert hashes(tmp_path) == before


def test_a_target_needs_no_images_for_pretraining(monkeypatch):
    def with_unlabelled(request):
        raw = load_plain_digits(request)
        images = raw.splits["train"].images
        return replace(raw, splits=raw.splits | {"pretrain": RawSplit(255 - images, None)})

    monkeypatch.setitem(CATALOG, "stl10", with_unlabelled)
    prepare_targets(tiny_params(transfer__targets=["stl10"]))
    prepared = load_prepared(TARGETS / "stl10")
    assert set(prepared.splits) == {"train", "test"}
    assert not (TARGETS / "stl10/pretrain").exists()
    unit = np.asarray(prepared.split("train").images, float) / 255
    assert prepared.mean == pytest.approx(unit.mean((0, 1, 2)), abs=1e-6)


def _wrong_shape(folder):
    write_array(folder / "train/images.npy", np.zeros((3, 32, 32, 3), np.uint8))


def _wrong_labels(folder):
    write_array(folder / "train/labels.npy", np.full(96, 10))


def _other_labels(folder):
    labels = np.load(folder / "train/labels.npy")
    write_array(folder / "train/labels.npy", labels[::-1].copy())


def _pickled(folder):
    with (folder / "train/labels.npy").open("wb") as stream:
        np.save(stream, np.array([{"a": 1}] * 96), allow_pickle=True)


def _other_format(folder):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"format": 7}))


@pytest.mark.parametrize(
    "harm",
    [
        _wrong_shape,
        _wrong_labels,
        _other_labels,
        _pickled,
        _other_format,
        lambda folder: (folder / "train/images.npy").write_bytes(b"\x93NUMPY"),
        lambda folder: (folder / "train/labels.npy").unlink(),
        lambda folder: (folder / "meta.json").write_text("[]"),
        lambda folder: (folder / "meta.json").write_text('{"format": 1}'),
    ],
)
def test_damaged_prepared_data_are_named_with_their_hint(harm):
    prepare_source(tiny_params())
    harm(PREPARED)
    with pytest.raises(UserError, match=r"dvc repro prepare") as caught:
        load_prepared(PREPARED).split("train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("name", "folder"), ("image_size", 64), ("crop", "squash")])
def test_a_set_that_was_prepared_otherwise_is_refused(key, value):
    prepare_source(tiny_params())
    message = f"prepared with data.{key} .*, but params.yaml asks for {value}; .*dvc repro prepare"
    with pytest.raises(UserError, match=message):
        load_source(tiny_params(**{f"data__{key}": value}).data)


def test_images_without_any_contrast_have_a_usable_scale():
    statistics = ChannelStatistics()
    statistics.add(np.full((4, 8, 8, 3), 255, np.uint8))
    message = statistics.result()
    assert message["mean"] == [1.0, 1.0, 1.0]
    assert min(message["std"]) > 0


def test_batches_visit_every_image_once_per_epoch_in_a_new_order():
    images = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    batches = ResidentImages(images, None, Order(len(images), 5, 0), "cpu")
    epochs = [
        [int(v) for step in (0, 1) for v in batches.batch(2 * e + step)[0][:, 0, 0, 0]] for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    again = ResidentImages(images, None, Order(len(images), 5, 0), "cpu")
    assert [int(v) for v in again.batch(5)[0][:, 0, 0, 0]] == epochs[2][5:], (
        "a step is found without those before"
    )
