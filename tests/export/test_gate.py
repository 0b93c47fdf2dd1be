"""What must not be shipped is found out at export, by name, and the folder that was there stays."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infocl.export import preprocessing
from infocl.export.compare import compare, neighbour_agreement
from infocl.export.exporter import export_encoder
from infocl.export.parity import Figures, ProbeTask, TorchReference, shortfall, training_rows, worst
from infocl.runtime.errors import InfoCLError, UserError
from tests.export.encoders import collapse, offset, outlier, overflow, respoil
from tests.tiny_run import tiny_params
from tests.workspace import SHIPPED

EXPORT = Path("exports/encoder")
GOOD = Figures(
    max_abs_error=0.0,
    max_relative_error=0.0,
    resized_error=0.0,
    max_cosine_distance=0.0,
    neighbour_agreement=1.0,
    probe_accuracy=0.8,
    images_per_second=1.0,
)


def contents(folder=EXPORT):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def variants():
    return json.loads((EXPORT / "encoder.json").read_text())["variants"]


def limits(name, **values):
    return {name: SHIPPED["export"][name] | values}


def refused(params, message):
    """The export fails with this line, is nobody's wrong input, and touches nothing."""
    before = contents()
    with pytest.raises(InfoCLError, match=message) as caught:
        export_encoder(params)
    assert not isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)
    assert contents() == before
    assert [path.name for path in Path("exports").iterdir()] == ["encoder"]


def test_a_collapsed_encoder_is_not_exported(project):
    respoil(collapse)
    refused(tiny_params(), "has collapsed: all 12 images have the same embedding; nothing was exported")


def test_an_intolerable_error_of_float32_touches_nothing(project):
    refused(
        tiny_params(**limits("max_relative_error", float32=1e-12)),
        r"export\.max_relative_error\.float32 1e-12; nothing was exported",
    )


def test_a_wrong_resize_in_the_graph_is_not_exported(project, monkeypatch):
    """The proof holds images of other sizes than the trained one, where this graph is still right."""
    antialiased = "Max ({axis}_length, side)"
    assert antialiased in preprocessing.WEIGHTS
    monkeypatch.setattr(
        preprocessing, "WEIGHTS", preprocessing.WEIGHTS.replace(antialiased, "Identity (side)")
    )
    refused(tiny_params(), r"export\.max_relative_error\.float32 1e-05; nothing was exported")


def test_an_outlier_channel_costs_int8_and_nothing_else(project):
    respoil(outlier)
    metrics = export_encoder(tiny_params())
    message = variants()
    assert [name for name, row in message.items() if row["shipped"]] == ["float32", "float16"]
    assert "more than export.max_relative_error.int8 0.2" in message["int8"]["reason"]
    assert message["int8"]["relative_error"] > 0.2
    assert message["int8"]["file"] is message["int8"]["bytes"] is message["int8"]["sha256"] is None
    card, sums = (EXPORT / "README.md").read_text(), (EXPORT / "SHA256SUMS").read_text()
    assert f"int8 is not shipped: {message['int8']['reason']}." in card
    assert "| int8 | not shipped | - |" in card
    assert not (EXPORT / "encoder.int8.onnx").exists()
    assert "encoder.int8.onnx" not in sums
    assert metrics["variants"]["int8"]["shipped"] is False


def test_what_overflows_float16_is_not_shipped_and_its_figures_are_null(project):
    respoil(overflow)
    export_encoder(tiny_params())
    message = variants()["float16"]
    assert not message["shipped"]
    assert message["relative_error"] is message["cosine_distance"] is None
    assert "nan" in message["reason"]


def test_neighbours_tell_what_a_relative_error_hides(project):
    respoil(offset)
    export_encoder(tiny_params())
    message = variants()["int8"]
    assert message["relative_error"] < 0.01
    assert not message["shipped"]
    assert "less than export.min_neighbour_agreement.int8 0.7" in message["reason"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_relative_error": 0.21}, "more than export.max_relative_error.int8 0.2"),
        ({"max_relative_error": math.nan}, "more than export.max_relative_error.int8 0.2"),
        ({"max_cosine_distance": 0.021}, "more than export.max_cosine_distance.int8 0.02"),
        ({"max_cosine_distance": math.nan}, "more than export.max_cosine_distance.int8 0.02"),
        ({"resized_error": math.nan}, "images of other sizes than the trained one are not finite"),
        ({"neighbour_agreement": 0.69}, "less than export.min_neighbour_agreement.int8 0.7"),
        (
            {"probe_accuracy": 0.79 - 1e-6},
            "right for 79.0% .*, on torch's for 81.0%: .*max_accuracy_drop 0.02",
        ),
        ({"probe_accuracy": math.nan}, "max_accuracy_drop"),
        ({"max_relative_error": 0.2, "max_cosine_distance": 0.02, "neighbour_agreement": 0.7}, None),
        ({"probe_accuracy": 0.79 + 1e-6}, None),
        ({"probe_accuracy": 0.9}, None),
        ({"probe_accuracy": None}, None),
    ],
)
def test_every_limit_is_held(change, message):
    yardstick = TorchReference(
        np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 2), np.float32), [], None, 0.81, 1.0, 1
    )
    reason = shortfall("int8", replace(GOOD, **change), yardstick, tiny_params(max_accuracy_drop=0.02).export)
    if message is None:
        assert reason is None
    else:
        assert re.search(message, reason or "")


@pytest.mark.parametrize(("lost", "shipped"), [(1, True), (2, False)])
def test_of_few_test_images_one_may_be_lost(lost, shipped):
    nothing = np.zeros((16, 8, 8, 3), np.uint8), np.arange(16)
    params = tiny_params(max_accuracy_drop=0.02)
    task = ProbeTask(nothing, nothing, params.probe, 0)
    yardstick = TorchReference(nothing[0], np.zeros((1, 2), np.float32), [], task, 9 / 16, 1.0, 1)
    reason = shortfall("float32", replace(GOOD, probe_accuracy=(9 - lost) / 16), yardstick, params.export)
    assert (reason is None) == shipped


def test_compare_against_numbers_worked_by_hand():
    expected = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    found = np.array([[3.0, 4.5], [0.0, 0.0], [1.0, 1.0]], dtype=np.float32)
    absolute, relative, distance = compare(found, expected)
    assert (absolute, relative) == (1.0, 1.0)
    assert distance == pytest.approx(1 - np.sqrt(0.5))
    assert compare(expected[1:2], expected[1:2]) == (0.0, 0.0, 0.0)
    assert compare(found[:1], expected[1:2])[1] > 1e20, "a zero embedding that is not zero is an error"


def test_the_worst_of_several_comparisons_counts_and_nan_is_worst():
    one = np.ones((1, 2), np.float32)
    assert worst([(one, one), (1.5 * one, one), (one, one)])[:2] == (0.5, 0.5)
    assert np.isnan(worst([(one * np.nan, one), (one, one)])).all()


def test_neighbours_against_a_case_worked_by_hand():
    angles = np.radians([0.0, 10.0, 25.0, 90.0])  # nearest others: 1, 0, 1, 2
    expected = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    moved = np.radians([0.0, 17.0, 25.0, 90.0])  # now the second is nearest to the third
    found = np.stack([np.cos(moved), np.sin(moved)], axis=1).astype(np.float32)
    assert neighbour_agreement(3 * expected, expected) == 1
    assert neighbour_agreement(found, expected) == 0.75
    assert neighbour_agreement(found[:2], expected[:2]) == 1, "two images have no choice"


def test_copies_of_an_image_are_equally_near():
    expected = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    found = np.array([[1, 0], [1, 0.1], [1, 0.01], [0, 1]], np.float32)
    assert neighbour_agreement(found, expected) == 1


def test_embeddings_that_are_all_but_one_point_have_other_neighbours():
    generator = np.random.default_rng(0)
    expected = (1 + 1e-6 * generator.normal(size=(64, 16))).astype(np.float32)
    found = expected + 1e-6 * generator.normal(size=(64, 16)).astype(np.float32)
    assert compare(found, expected)[1] < 1e-5
    assert neighbour_agreement(found, expected) < 0.9


def test_a_part_of_the_training_images_keeps_every_class():
    labels = np.repeat(np.arange(30), 100)
    labels[:3] = 99  # a rare class
    rows = training_rows(labels, 600, 0.2)
    counts = np.unique(labels[rows], return_counts=True)[1]
    assert (np.diff(rows) > 0).all()
    assert counts.tolist() == [19] * 30 + [3]
    assert training_rows(labels, 3000, 0.2).tolist() == list(range(3000))


def test_classes_too_many_for_a_part_are_taken_whole():
    labels = np.concatenate([np.repeat(np.arange(150), 2), np.full(5000, 999)])
    assert len(training_rows(labels, 300, 0.2)) == len(labels)
