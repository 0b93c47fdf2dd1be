"""The embedded set `scenes`: deterministic, balanced, independent, split without leaks, and readable."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from sklearn.feature_selection import mutual_info_classif

from infocl.config import EmbeddedParams
from infocl.data.embedded.digits import load_photo_pieces, load_plain_digits
from infocl.data.embedded.scenes import (
    ATTRIBUTES,
    HUE_STEP,
    compose_split,
    draw_crops,
    load_scenes,
    split_digits,
)
from infocl.data.raw import Request
from infocl.runtime.paths import RAW
from tests.workspace import tiny_params

SMALL = EmbeddedParams(train_images=720, test_images=360, seed=0)


def request_for(**changes):
    return Request(tiny_params(**changes).data, RAW)


def test_the_same_seed_makes_the_same_bytes():
    first, labels = compose_split(SMALL, 32, "train")
    compose_split.cache_clear()
    again, again_labels = compose_split(SMALL, 32, "train")
    assert np.array_equal(first, again)
    assert all(np.array_equal(labels[name], again_labels[name]) for name in labels)
    other, _ = compose_split(EmbeddedParams(train_images=720, test_images=360, seed=1), 32, "train")
    assert not np.array_equal(first, other)


def test_no_digit_is_in_both_splits():
    train, test = (split_digits(0, split)[0] for split in ("train", "test"))
    assert len(train) + len(test) == 1797
    seen = {digit.tobytes() for digit in train}
    assert not any(digit.tobytes() in seen for digit in test)


def test_no_pixel_of_the_photograph_is_in_both_splits():
    generator = np.random.default_rng(0)
    regions = np.arange(3000) % 6
    covered = {}
    for split in ("train", "test"):
        crops = draw_crops(generator, regions, split)
        mask = np.zeros((240, 240), bool)
        low, high = (crops[:, :2] - crops[:, 2:] + 1) / 2, (crops[:, :2] + crops[:, 2:] + 1) / 2
        assert low.min() >= 0
        assert high.max() <= 1
        for (left, top), (right, bottom) in zip(
            np.ceil(240 * low - 1e-9).astype(int), np.floor(240 * high + 1e-9).astype(int), strict=True
        ):
            mask[top:bottom, left:right] = True
        covered[split] = mask
    assert not (covered["train"] & covered["test"]).any()
    assert covered["train"].mean() > 0.6
    assert covered["test"].mean() > 0.15


def test_attributes_are_balanced_and_say_nothing_of_each_other():
    _, labels = compose_split(EmbeddedParams(train_images=6000, test_images=60, seed=0), 16, "train")
    for name, classes in ATTRIBUTES.items():
        counts = np.bincount(labels[name], minlength=len(classes))
        assert counts.max() - counts.min() <= 1
    names = [*ATTRIBUTES, "digit"]
    table = np.stack([labels[name] for name in names], axis=1)
    for index, name in enumerate(names):
        others = np.delete(table, index, axis=1)
        shared = mutual_info_classif(others, table[:, index], discrete_features=True)
        assert shared.max() < 0.02, f"{name} leaks into another attribute"


@pytest.mark.parametrize("size", [16, 32, 64])
def test_attributes_are_what_the_pixels_show(size):
    """Each attribute read off the pixels by its own meaning, not by a trained model."""
    images, labels = compose_split(EmbeddedParams(train_images=900, test_images=60, seed=0), size, "train")
    assert images.shape == (900, size, size, 3)
    assert images.dtype == np.uint8
    unit = images.astype(float) / 255
    chroma = np.maximum(unit.max(-1) - unit.min(-1) - 0.5, 0)  # strokes are the saturated pixels
    weight = chroma / chroma.sum((1, 2), keepdims=True)
    axis = (np.arange(size) + 0.5) / size
    x, y = (weight * axis).sum((1, 2)), (weight * axis[:, None]).sum((1, 2))
    columns = [x[labels["position"] % 3 == column].mean() for column in range(3)]
    rows = [y[labels["position"] // 3 == row].mean() for row in range(3)]
    assert np.diff(columns).min() > 0.08, "columns lie a tenth of the image apart"
    assert np.diff(rows).min() > 0.08
    areas = [(chroma > 0.1)[labels["scale"] == scale].mean() for scale in range(3)]
    assert areas[0] * 1.3 < areas[1] < areas[2] / 1.3
    colours = (weight[..., None] * unit).sum((1, 2))
    turns = [rgb_to_hsv(colours[labels["hue"] == hue].mean(0))[0] for hue in range(8)]
    np.testing.assert_allclose(turns, HUE_STEP * np.arange(8), atol=HUE_STEP / 4)
    slant = (weight * (axis - x[:, None, None]) * (axis[:, None] - y[:, None, None])).sum((1, 2))
    means = [slant[labels["tilt"] == tilt].mean() for tilt in range(3)]
    assert means[0] > means[1] > means[2], "a digit tilted left leans from lower right to upper left"


def test_attribute_sets_share_the_images():
    scenes = load_scenes(request_for())
    hue = load_scenes(request_for(), "hue")
    assert hue.images_in == "scenes"
    assert hue.splits["test"].images is scenes.splits["test"].images
    assert hue.classes == ATTRIBUTES["hue"]


@pytest.mark.parametrize("reader", [load_plain_digits, load_photo_pieces])
def test_other_embedded_targets(reader):
    raw = reader(request_for())
    for split in raw.splits.values():
        assert split.images.shape[1:] == (32, 32, 3)
        assert set(split.labels) == set(range(len(raw.classes)))
    train, test = ({image.tobytes() for image in raw.splits[name].images} for name in ("train", "test"))
    assert not train & test


def test_plain_digits_are_split_as_in_the_scenes():
    plain = load_plain_digits(request_for())
    for split, part in plain.splits.items():
        digits, labels = split_digits(request_for().data.scenes.seed, split)
        assert np.array_equal(part.labels, labels)
        small = part.images[:, 2::4, 2::4, 0] / 255
        assert np.abs(small.reshape(digits.shape) - digits).mean() < 0.15
