"""The section `detection` of params.yaml refuses what cannot be run."""

from __future__ import annotations

import pytest

from infocl.runtime.errors import UserError
from tests.workspace import tiny_params


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layout", "yolo", "detection.layout is 'yolo'; use one of voc, coco"),
        ("train", [], "detection.train is [], but must be a list of at least 1 values"),
        ("shorter_sides", [16], "detection.shorter_sides.0 is 16, but must be at least 32"),
        ("longer_side", 640, "detection.longer_side 640 is smaller than 800 of detection.shorter_sides"),
        ("warmup_iterations", 30000, "detection.warmup_iterations (30000) must not exceed"),
        ("decay_at", [0.9, 0.5], "detection.decay_at must rise"),
        ("decay_at", [0.5, 0.5], "detection.decay_at must rise"),
        ("decay_at", [1.0], "detection.decay_at.0 is 1.0, but must be less than 1"),
        ("trainable_levels", 6, "detection.trainable_levels is 6, but must be at most 5"),
        ("batch_norm", "synced", "detection.batch_norm is 'synced'; use one of tuned, frozen"),
    ],
)
def test_mistakes_are_named_with_their_hint(key, value, message):
    with pytest.raises(UserError) as caught:
        tiny_params(**{f"detection__{key}": value})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
