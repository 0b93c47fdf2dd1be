"""Features: the encoder's own, the same however they are batched, refused when broken."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from infocl.encoder.network import Encoder
from infocl.evaluate.features import extract
from infocl.evaluate.stored import SplitFeatures, StoredFeatures, load_features, save_features
from infocl.runtime.errors import InfoCLError, UserError
from infocl.runtime.files import sha256_array
from tests.workspace import digit_images, tiny_params

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    params = tiny_params(encoder__width=0.0625)
    return Encoder(params.encoder, [0.2, 0.2, 0.2], [0.3, 0.3, 0.3]).eval()


@pytest.fixture(scope="module")
def images():
    return digit_images(30)[0]


def test_features_are_what_the_encoder_says(encoder, images):
    with torch.no_grad():
        expected = encoder(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).numpy()
    features = extract(encoder, images, CPU)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 30])
def test_batches_change_nothing(encoder, images, batch_size):
    whole = extract(encoder, images, CPU)
    np.testing.assert_allclose(extract(encoder, images, CPU, batch_size), whole, rtol=1e-4, atol=1e-5)


def test_the_same_numbers_twice(encoder, images):
    assert np.array_equal(extract(encoder, images, CPU), extract(encoder, images, CPU))


def test_images_may_be_memory_mapped(encoder, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(extract(encoder, mapped, CPU), extract(encoder, images, CPU))


def test_autocast_around_the_stage_does_not_reach_the_features(encoder, images):
    plain = extract(encoder, images, CPU)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(extract(encoder, images, CPU), plain)


def test_a_diverged_encoder_is_named(images):
    params = tiny_params(encoder__width=0.0625)
    broken = Encoder(params.encoder, [0.2, 0.2, 0.2], [0.3, 0.3, 0.3]).eval()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(InfoCLError, match="NaN or infinite features for 30 of 30 images"):
        extract(broken, images, CPU)


@pytest.fixture
def folder(tmp_path):
    split = SplitFeatures(np.arange(12, dtype=np.float32).reshape(4, 3), "a" * 64)
    save_features(tmp_path / "features", StoredFeatures("b" * 64, {"train": split, "test": split}))
    return tmp_path / "features"


def test_what_was_saved_is_read_back(folder):
    stored = load_features(folder)
    assert stored.encoder_sha256 == "b" * 64
    assert set(stored.splits) == {"train", "test"}
    assert stored.splits["test"].images_sha256 == "a" * 64
    assert stored.splits["train"].features.tolist() == np.arange(12).reshape(4, 3).tolist()
    meta = json.loads((folder / "meta.json").read_text())
    about = meta["splits"]["train"]
    assert about["images_sha256"] == "a" * 64
    assert about["features_sha256"] == sha256_array(stored.splits["train"].features)


def test_saving_replaces_the_whole_folder(folder):
    split = SplitFeatures(np.ones((2, 3), dtype=np.float32), "c" * 64)
    save_features(folder, StoredFeatures("d" * 64, {"train": split}))
    assert {path.name for path in folder.iterdir()} == {"train.npy", "meta.json"}
    assert load_features(folder).encoder_sha256 == "d" * 64


def _edit(folder, **changes):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "meta.json").unlink(), r"meta.json is missing"),
        (lambda folder: (folder / "test.npy").unlink(), r"test.npy is missing"),
        (lambda folder: (folder / "test.npy").write_bytes(b"\x93NUMPY"), r"test.npy cannot be read"),
        (lambda folder: np.save(folder / "test.npy", np.ones((3, 3), np.float32)), r"test.npy holds float32"),
        (
            lambda folder: np.save(folder / "test.npy", np.ones((4, 3), np.float32)),
            r"test.npy is damaged: meta.json has another SHA-256; make it again: rm -rf models/features && ",
        ),
        (lambda folder: np.save(folder / "test.npy", np.ones((4, 3))), r"test.npy holds float64"),
        (lambda folder: _edit(folder, format=1), r"has format 1"),
        (lambda folder: _edit(folder, splits={"train": {"images": 4}}), r"meta.json lacks"),
        (lambda folder: _edit(folder, splits=[1]), r"meta.json lacks"),
    ],
)
def test_a_damaged_folder_is_named_with_its_mend(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_features(folder)
    assert "dvc repro probe" in str(caught.value)
