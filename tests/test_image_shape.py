"""Size, crop and normalisation are said once, and come with the images to probe, transfer and export."""

from __future__ import annotations

import csv
import json

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from infocl.data.prepare import prepare_source, prepare_targets
from infocl.evaluate.evaluation import run_probe, run_transfer
from infocl.evaluate.stored import load_features
from infocl.export.exporter import export_encoder
from infocl.pretrain.training import pretrain
from infocl.runtime.errors import UserError
from infocl.runtime.files import write_json
from infocl.runtime.paths import DETAILS, EXPORT, FEATURES, PREPARED, PRETRAIN
from tests.data.layouts import write
from tests.workspace import digit_images, tiny_params

WIDE = 96  # px; the images are 32 px high, so that the middle square has no part of their sides


@pytest.fixture(autouse=True)
def _workspace(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    write(monkeypatch, "eurosat", tmp_path / "raw")
    digits, labels = digit_images(80)
    for number, (digit, label) in enumerate(zip(digits, labels, strict=True)):
        image = np.full((32, WIDE, 3), 255 * (label % 2), np.uint8)
        image[:, 32:64] = digit
        path = tmp_path / f"mine/{label % 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def params_of(tmp_path, crop, **changes):
    return tiny_params(
        **{
            "data__name": "folder",
            "data__root": str(tmp_path / "mine"),
            "data__crop": crop,
            "transfer__root": str(tmp_path / "raw"),
            "transfer__targets": ["eurosat"],
            "probe__validation_share": 0.3,
            "train__epochs": 1,
            "train__device": "cpu",
        }
        | changes
    )


def run_to_features(params):
    prepare_source(params)
    prepare_targets(params)
    pretrain(params)
    return run_probe(params)


def test_the_export_makes_of_raw_files_what_training_saw(tmp_path):
    """By squashing; tests/test_pipeline.py crops, and tests/export/test_preprocessing.py compares both."""
    params = params_of(tmp_path, "squash")
    probe = run_to_features(params)
    write_json(DETAILS / "probe.json", probe)
    write_json(DETAILS / "transfer.json", run_transfer(params))
    export_encoder(params)
    about = json.loads((EXPORT / "encoder.json").read_text())
    meta = json.loads((PREPARED / "meta.json").read_text())
    assert (about["image_size"], meta["image_size"], meta["crop"]) == (32, 32, "squash")
    assert about["mean"] == pytest.approx(meta["mean"])
    assert "crop" not in [step["step"] for step in about["preprocessing"]]
    with (PREPARED / "test/files.csv").open() as stream:
        files = [tmp_path / "mine" / row["path"] for row in csv.DictReader(stream)]
    raw = np.stack([np.asarray(Image.open(file)) for file in files])
    session = onnxruntime.InferenceSession(EXPORT / "encoder.onnx")
    (found,) = session.run(["embedding"], {"image": raw})
    expected = load_features(FEATURES).splits["test"].features
    distances = np.linalg.norm(found[:, None] - expected, axis=2)
    assert distances.diagonal().max() < 0.05 * np.linalg.norm(expected, axis=1).max()
    assert np.array_equal(distances.argmin(1), np.arange(len(files)))


def test_crops_show_different_parts_of_the_images(tmp_path):
    seen = {}
    for crop in ("center", "squash"):
        prepare_source(params_of(tmp_path, crop))
        seen[crop] = np.load(PREPARED / "train/images.npy")
    assert np.unique(seen["squash"][:, :, 0]).tolist() == [0, 255], "the side of an image tells its class"
    assert not np.array_equal(seen["center"], seen["squash"])
    assert "resized as a whole" in (PREPARED / "README.md").read_text()


def test_images_of_another_shape_are_refused(tmp_path):
    params = params_of(tmp_path, "center")
    run_to_features(params)
    squashed = params_of(tmp_path, "squash")
    prepare_targets(squashed)
    with pytest.raises(UserError, match=r"eurosat were made square by squash, but data\.crop is center"):
        run_transfer(params)
    prepare_targets(params_of(tmp_path, "center", data__image_size=64))
    with pytest.raises(
        UserError, match=r"eurosat holds images of 64 px, but the encoder in .* was trained on 32 px"
    ):
        run_transfer(params)
    prepare_targets(params)
    run_transfer(params)
    prepare_source(squashed)
    with pytest.raises(UserError, match=r"prepared with data.crop squash, but params.yaml asks for center"):
        run_probe(params)
    with pytest.raises(UserError, match=f"the encoder in {PRETRAIN} normalises by other images"):
        run_probe(squashed)
