"""Features that need no training, against loops over images and pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from infocl.encoder.numerics import derive_seed
from infocl.encoder.views import Views
from infocl.evaluate import baselines
from infocl.evaluate.baselines import colour_histogram, raw_pixels, untrained_encoder
from infocl.prepared.reader import load_prepared
from tests.workspace import tiny_params, write_prepared

CPU = torch.device("cpu")


def noise(images=5, size=16):
    return np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype=np.uint8)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(baselines, "PIXELS", 2 * 16 * 16)


def test_raw_pixels_are_means_of_areas(small_chunks):
    images = noise()
    features = raw_pixels(images, CPU)
    assert (features.shape, features.dtype) == ((5, 192), np.float32)
    for image, found in zip(images, features, strict=True):
        for channel in range(3):
            for row in range(8):
                for column in range(8):
                    area = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
                    assert found[64 * channel + 8 * row + column] == pytest.approx(
                        area.mean() / 255, abs=1e-6
                    )


def test_the_histogram_counts_pixels_by_colour(small_chunks):
    images = noise()
    images[0] = 255
    features = colour_histogram(images, CPU)
    assert (features.shape, features.dtype) == ((5, 88), np.float32)
    for image, found in zip(images, features, strict=True):
        counts = np.zeros(88)
        for red, green, blue in image.reshape(-1, 3).astype(int):
            for channel, value in enumerate((red, green, blue)):
                counts[8 * channel + value // 32] += 1
            counts[24 + 16 * (red // 64) + 4 * (green // 64) + blue // 64] += 1
        np.testing.assert_allclose(found, counts / 256, rtol=1e-6)


@pytest.mark.parametrize("size", [8, 20, 33])
def test_any_size_of_images_will_do(size):
    assert raw_pixels(noise(size=size), CPU).shape == (5, 192)
    np.testing.assert_allclose(colour_histogram(noise(size=size), CPU).sum(axis=1), 4, rtol=1e-5)


def test_untrained_encoders_differ_by_number_and_leave_the_random_state_alone(tmp_path):
    data, params = load_prepared(write_prepared(tmp_path)), tiny_params(encoder__width=0.0625)
    state = torch.get_rng_state()
    first, again, other = (untrained_encoder(params, data, number, CPU) for number in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert not first.training
    weights = [encoder.state_dict() for encoder in (first, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(first.stem[0].weight, other.stem[0].weight)


def test_batch_norm_knows_the_views_of_the_training_images(tmp_path, monkeypatch):
    """The first layer's statistics are the mean over batches of what a loop sees."""
    monkeypatch.setattr(baselines, "CALIBRATION_IMAGES", 64)
    monkeypatch.setattr(baselines, "CALIBRATION_BATCH", 32)
    data, params = load_prepared(write_prepared(tmp_path)), tiny_params(encoder__width=0.0625)
    encoder = untrained_encoder(params, data, 0, CPU)
    rows = np.linspace(0, 95, 64).astype(int)
    views, seen = Views(params.views, 32), []
    for start in (0, 32):
        images = torch.from_numpy(data.split("train").images[rows[start : start + 32]])
        pair = torch.cat(views(images, derive_seed(params.seed, baselines.UNTRAINED_VIEWS, start)))
        with torch.no_grad():
            seen.append(encoder.stem[0](encoder.normalize(pair)))
    layer = encoder.stem[1]
    assert isinstance(layer, nn.BatchNorm2d)
    means = [maps.mean(dim=(0, 2, 3)) for maps in seen]
    variances = [maps.var(dim=(0, 2, 3)) for maps in seen]
    torch.testing.assert_close(layer.running_mean, sum(means) / 2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.running_var, sum(variances) / 2, rtol=1e-4, atol=1e-5)
