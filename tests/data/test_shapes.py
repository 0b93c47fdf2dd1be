"""The default set: deterministic, balanced, independent, and each attribute readable by its meaning."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv

from infocl.config import ShapesParams
from infocl.data.embedded.shapes import ATTRIBUTES, DARKEST, FIRST_HUE, LUMA, colours, draw_split, load_shapes
from infocl.data.raw import Request
from infocl.runtime.files import sha256_array
from infocl.runtime.paths import RAW
from tests.workspace import tiny_params

LOOK = {"hue_range": 0.3, "brightness_step": 0.08, "ground": 0.25}
SMALL = ShapesParams(train_images=960, test_images=480, seed=0, **LOOK)
LARGEST = {"hue_range": 0.4, "brightness_step": 0.1, "ground": 0.25}  # that the schema allows


def seen(images):
    """Mean RGB (N, 3) of each shape and its weight (N, S, S): of the saturated pixels."""
    unit = images.astype(float) / 255
    weight = np.maximum(unit.max(-1) - unit.min(-1) - 0.15, 0)
    weight /= weight.sum((1, 2), keepdims=True)
    return np.einsum("nhw,nhwc->nc", weight, unit), weight


def nearest(values, centres):
    return np.abs(values[:, None] - np.asarray(centres)).argmin(1)


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others():
    first, labels = draw_split(SMALL, 16, "test")
    draw_split.cache_clear()
    again, again_labels = draw_split(SMALL, 16, "test")
    assert first.tobytes() == again.tobytes()
    assert all(np.array_equal(labels[name], again_labels[name]) for name in ATTRIBUTES)
    other, other_labels = draw_split(SMALL.model_copy(update={"seed": 1}), 16, "test")
    assert not any(np.array_equal(labels[name], other_labels[name]) for name in ATTRIBUTES)
    assert not {image.tobytes() for image in first} & {image.tobytes() for image in other}


def test_the_bytes_are_those_of_every_machine():
    images, labels = draw_split(SMALL, 16, "test")
    table = np.stack([labels[name] for name in ATTRIBUTES])
    assert sha256_array(images) == "a8fca0f231983d439eff37c0788c0fc3b2c4232b9f37ce3de79dd33f57e170ac"
    assert sha256_array(table) == "bd85217bdd365a1d104f4959dfca6753bc110a9101d6cf7a0b5a5a7140e6e4cb"


def test_no_image_is_in_both_splits_nor_twice_in_one():
    splits = [draw_split(SMALL, 16, split)[0] for split in ("train", "test")]
    assert len({image.tobytes() for images in splits for image in images}) == 960 + 480


def test_attributes_are_balanced_and_independent():
    """Chi-squared of each pair's table, by its degrees of freedom, within what chance gives."""
    _, labels = draw_split(SMALL.model_copy(update={"train_images": 5760}), 16, "train")
    for name, about in ATTRIBUTES.items():
        assert set(np.bincount(labels[name])) == {5760 // len(about.classes)}
    for one, two in combinations(ATTRIBUTES, 2):
        table = np.zeros([len(ATTRIBUTES[name].classes) for name in (one, two)])
        np.add.at(table, (labels[one], labels[two]), 1)
        freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
        statistic = ((table - table.mean()) ** 2 / table.mean()).sum()
        assert statistic < freedom + 4 * np.sqrt(2 * freedom), f"{one} tells of {two}"


@pytest.mark.parametrize("size", [16, 32, 48])
def test_the_pixels_show_hue_brightness_and_place(size):
    """Each read by its meaning, not by a trained model."""
    images, labels = draw_split(SMALL, size, "train")
    assert (images.shape, images.dtype) == ((960, size, size, 3), np.uint8)
    colour, weight = seen(images)
    hues = FIRST_HUE + LOOK["hue_range"] / 6 * np.arange(6)
    assert (nearest(rgb_to_hsv(colour)[:, 0], hues) == labels["hue"]).mean() > 0.97
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    middle = [np.tensordot(weight.sum(along), axis, 1) for along in (1, 2)]
    for value, label in zip(middle, (labels["place"] % 2, labels["place"] // 2), strict=True):
        assert value[label == 0].mean() < -0.1 < 0.1 < value[label == 1].mean()
    core = np.sort((images / 255 @ LUMA).reshape(960, -1))[:, -size * size // 12 :].mean(1)
    means = np.array([core[labels["brightness"] == level].mean() for level in range(3)])
    np.testing.assert_allclose(np.diff(means), LOOK["brightness_step"], atol=0.01)


def test_brightness_is_the_same_whatever_the_hue():
    """Of the pixels, within a tenth of a class; and no colour of the largest ranges needs more than white."""
    images, labels = draw_split(SMALL.model_copy(update={"train_images": 5760}), 32, "train")
    colour, _ = seen(images)
    luma = colour @ LUMA
    by_hue = np.array([luma[labels["hue"] == hue].mean() for hue in range(6)])
    assert np.ptp(by_hue) < 0.1 * LOOK["brightness_step"]
    hue = FIRST_HUE + LARGEST["hue_range"] / 6 * np.linspace(-0.25, 5.25, 200)
    brightest = DARKEST + LARGEST["brightness_step"] * 2.3
    rgb = colours(hue, np.full(200, 0.95), np.full(200, brightest))
    np.testing.assert_allclose(rgb @ LUMA, brightest)
    assert 0 <= rgb.min() < rgb.max() <= 1
    tiny_params(**{f"data__shapes__{key}": value for key, value in LARGEST.items()})


def test_the_ground_has_no_colour_and_is_darker_than_any_shape():
    images, _ = draw_split(SMALL, 32, "train")
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].astype(float)
    grey = np.ptp(corners, axis=-1) <= 1
    assert grey.mean() > 0.99
    assert corners[grey].mean() / 255 < LOOK["ground"] / 1.5


def test_a_shape_is_told_by_its_outline():
    """Area and the share of the circle around it that is filled, both free of rotation, part all eight."""
    images, labels = draw_split(SMALL, 48, "train")
    _, weight = seen(images)
    inside = weight > 0.3 * weight.max((1, 2), keepdims=True)
    axis = (np.arange(48) + 0.5) / 24 - 1
    x, y = axis - (weight.sum(1) @ axis)[:, None], axis - (weight.sum(2) @ axis)[:, None]
    radius = np.hypot(x[:, None, :], y[:, :, None])
    area = inside.sum((1, 2))
    moments = [(inside * radius**power).sum((1, 2)) / area ** (1 + power / 2) for power in (1, 2, 4, 6)]
    hollow = (inside & (radius < 0.2)).sum((1, 2)) / area
    turns = np.arctan2(y[:, :, None], x[:, None, :])
    waves = [np.abs((inside * np.exp(1j * fold * turns)).sum((1, 2))) / area for fold in range(2, 6)]
    known = np.stack([*moments, hollow, *waves], axis=1)
    known = (known - known.mean(0)) / known.std(0)
    centres = np.stack([known[:480][labels["shape"][:480] == shape].mean(0) for shape in range(8)])
    reported = ((known[480:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (reported == labels["shape"][480:]).mean() > 0.95


def test_targets_are_labels_of_the_same_images():
    request = Request(tiny_params(data__name="shapes").data, RAW)
    source = load_shapes(request)
    assert (source.images_in, source.classes, source.licence) == (
        None,
        ATTRIBUTES["shape"].classes,
        "CC0-1.0",
    )
    for name, about in ATTRIBUTES.items():
        target = load_shapes(request, name)
        assert (target.images_in, target.classes) == ("shapes", about.classes)
        assert target.about["task"]["changed_by_views"] is (name != "shape")
        for split, part in target.splits.items():
            assert part.images is source.splits[split].images
            assert set(part.labels) == set(range(len(about.classes)))
    assert np.array_equal(load_shapes(request, "shape").splits["test"].labels, source.splits["test"].labels)
