"""The description of an encoder as the gate reads it, damaged or without what is compared."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from infocl.runtime.errors import UserError
from pipelines.differences import read_encoder
from tests.pipelines.exports import write_export


@pytest.mark.parametrize("key", ["metrics", "parity"])
def test_a_description_without_what_is_compared_is_named(tmp_path, key):
    folder = write_export(tmp_path / "encoder", digits=(9, 10))
    assert read_encoder(folder).size == (folder / "encoder.onnx").stat().st_size
    message = json.loads((folder / "encoder.json").read_text())
    del message[key]
    (folder / "encoder.json").write_text(json.dumps(message))
    with pytest.raises(UserError, match=rf"encoder\.json: {key} is not usable.*dvc repro export"):
        read_encoder(folder)


@pytest.mark.parametrize(
    "transfer",
    [{}, {"digits": {"accuracy": 0.5}}, {"digits": {"accuracy": "x", "accuracy_ci95": [0, 1]}}, [], None]
    + [{"digits": {"accuracy": 0.5, "accuracy_ci95": interval}} for interval in ([0.1], [0.6, 0.7], None)]
    + [{"digits": {"accuracy": math.nan, "accuracy_ci95": [0.1, 0.9]}}],
)
def test_accuracies_that_cannot_be_compared_are_refused_before_they_are(tmp_path, transfer):
    folder = write_export(tmp_path / "encoder", digits=(9, 10))
    message = json.loads((folder / "encoder.json").read_text())
    message["metrics"]["transfer"] = transfer
    (folder / "encoder.json").write_text(json.dumps(message))
    with pytest.raises(UserError, match=r"encoder\.json"):
        read_encoder(folder)


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_damaged_description_is_one_line_that_names_it(tmp_path, content):
    folder = write_export(tmp_path / "encoder", digits=(9, 10))
    Path(folder / "encoder.json").write_text(content)
    with pytest.raises(UserError, match=r"encoder\.json .*dvc repro export") as caught:
        read_encoder(folder)
    assert "\n" not in str(caught.value)


def test_right_answers_that_do_not_give_the_accuracy_are_refused(tmp_path):
    folder = write_export(tmp_path / "encoder", digits=(9, 10))
    assert read_encoder(folder).correct["digits"].sum() == 9
    np.savez(folder / "correct.npz", digits=np.packbits(np.ones(10, bool)), source=np.zeros(8, np.uint8))
    with pytest.raises(UserError, match=r"correct\.npz cannot be read .*not the .* of encoder\.json"):
        read_encoder(folder)
    (folder / "correct.npz").unlink()
    with pytest.raises(UserError, match=r"correct\.npz cannot be read"):
        read_encoder(folder)
