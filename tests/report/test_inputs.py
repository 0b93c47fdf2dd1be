"""The history and the pictures as files that may be anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infocl.report.inputs import read_history, read_inputs
from infocl.report.pictures import read_sheet
from infocl.runtime.errors import UserError
from infocl.runtime.files import write_array
from infocl.runtime.paths import rerun
from tests.tiny_run import tiny_params

GOOD = "step,epoch,loss,objective,regularizer,lr\n3,0.5,2.5,2,0.5,1e-3\n6,1,2.25,2,0.25,1e-3\n"


def test_columns_are_read_by_name(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(GOOD)
    history = read_history(path)
    assert list(history) == ["step", "epoch", "loss", "objective", "regularizer", "lr"]
    np.testing.assert_array_equal(history["loss"], [2.5, 2.25])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("step,epoch,loss,objective,regularizer\n", "has no rows"),
        ("step,epoch,loss,objective\n1,1,1,1\n", "lacks the column regularizer"),
        (GOOD.replace("2.5", "much"), "cannot be read"),
        (GOOD + "9,1.5\n", "cannot be read"),
    ],
)
def test_a_bad_history_is_named(tmp_path, text, message):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"history\.csv {message}.*dvc repro pretrain"):
        read_history(path)


@settings(max_examples=100)
@given(position=st.integers(0, len(GOOD)), inserted=st.binary(min_size=1, max_size=5))
def test_any_damage_is_read_or_named_in_one_line(tmp_path_factory, position, inserted):
    path = tmp_path_factory.mktemp("damage") / "history.csv"
    path.write_bytes(GOOD[:position].encode() + inserted + GOOD[position:].encode())
    try:
        history = read_history(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len({len(column) for column in history.values()}) == 1


@pytest.mark.parametrize(
    "sheet",
    [np.zeros((2, 3, 8, 8), np.uint8), np.zeros((2, 3, 8, 8, 3)), np.zeros((0, 3, 8, 8, 3), np.uint8)],
)
def test_an_array_that_is_no_sheet_of_images_is_refused(tmp_path, sheet):
    path = tmp_path / "views.npy"
    write_array(path, sheet)
    with pytest.raises(UserError, match=r"views\.npy holds .* no rows of images; .*dvc repro pretrain"):
        read_sheet(path, rerun("pretrain", path))


@pytest.mark.parametrize(
    ("file", "key", "stage"),
    [
        ("models/pretrain/config.json", "objective", "pretrain"),
        ("models/pretrain/config.json", "reg_weight", "pretrain"),
        ("exports/encoder/encoder.json", "parity", "export"),
        ("exports/encoder/encoder.json", "onnx_sha256", "export"),
    ],
)
def test_incomplete_descriptions_are_named_with_their_hint(project, file, key, stage):
    path = Path(file)
    content = json.loads(path.read_text())
    for damage in ({k: v for k, v in content.items() if k != key}, content | {key: None}):
        path.write_text(json.dumps(damage))
        with pytest.raises(UserError, match=rf"{path.name} lacks a usable {key}; .*dvc repro {stage}"):
            read_inputs(tiny_params())
