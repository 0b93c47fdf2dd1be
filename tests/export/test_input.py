"""What the export is given: named where it is missing or damaged, and enough without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infocl.export.exporter import export_encoder
from infocl.runtime.errors import UserError
from tests.export.test_export import EXPORT, about, contents
from tests.tiny_run import (
    CLASSES,
    tiny_params,
    write_encoder,
    write_metrics,
    write_prepared,
)


def _damage(path, change=lambda data: data[:-100]):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda: _damage(Path("models/pretrain/encoder.safetensors")), "encoder.safetensors.*repro pretrain"),
        (lambda: _damage(Path("data/prepared/test/images.npy")), "images.npy.*repro prepare"),
        (lambda: Path("data/prepared/train/images.npy").unlink(), "train/images.npy.*repro prepare"),
        (lambda: Path("metrics/details/probe.json").unlink(), "probe.json is missing.*repro probe"),
        (
            lambda: Path("metrics/details/transfer.json").write_text("{}"),
            "transfer.json has no usable.*repro transfer",
        ),
        (lambda: Path("models/correct/hue.npy").unlink(), "hue.npy is missing.*repro transfer"),
        (
            lambda: np.save("models/features/correct.npy", np.ones(60, bool)),
            "correct.npy does not give the accuracy.*repro probe",
        ),
        (lambda: write_encoder(write_prepared(), data="cifar10"), "trained on cifar10.*repro pretrain"),
        (lambda: write_encoder(write_prepared(), image_size=32), "16 px.*trained on 32 px"),
        (
            lambda: write_encoder(write_prepared() | {"mean": [0.3, 0.6, 0.10001]}),
            "normalises by other images than those in data/prepared",
        ),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_nothing_is_touched(project, harm, message):
    before = contents()
    harm()
    with pytest.raises(UserError, match=message) as caught:
        export_encoder(tiny_params())
    assert "\n" not in str(caught.value)
    assert contents() == before


def test_without_labels_and_without_a_test_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_encoder(write_prepared(labelled=False, classes=CLASSES, splits=("train",)))
    write_metrics(labelled=False)
    metrics = export_encoder(tiny_params(parity_images=1000))
    assert metrics["parity_images"] == 60
    assert about()["metrics"]["source"] is None
    assert "The data set scenes has no labels" in (EXPORT / "README.md").read_text()
