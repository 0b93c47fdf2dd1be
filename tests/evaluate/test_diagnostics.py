"""Diagnostics against loops, closed forms and known information."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from infocl.encoder.network import Encoder
from infocl.evaluate import diagnostics
from infocl.evaluate.diagnostics import (
    alignment,
    choose_images,
    choose_temperature,
    dead_units,
    describe_features,
    describe_views,
    encode_views,
    info_nce,
    rankme,
    uniformity,
)
from infocl.evaluate.scaling import fit_scaling
from tests.workspace import digit_images, tiny_params

CPU = torch.device("cpu")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(rows):
    return [row / np.sqrt((row**2).sum()) for row in rows.numpy()]


def orthonormal(dim):
    return torch.linalg.qr(normal(dim, dim))[0]


def test_rankme_counts_equal_directions():
    assert rankme(orthonormal(16)) == pytest.approx(16, rel=1e-4)
    assert rankme(normal(50, 1) @ normal(1, 16)) == pytest.approx(1, rel=1e-4)
    assert rankme(torch.cat([torch.eye(2), torch.zeros(8, 2)]).double() * 5) == pytest.approx(2, rel=1e-4)


def test_rankme_is_the_written_entropy():
    features = normal(60, 5) * torch.tensor([1.0, 2, 3, 0.5, 0.1])
    eigenvalues = np.linalg.eigvalsh((features.T @ features).numpy())
    sigma = np.sqrt(eigenvalues)
    p = [value / sigma.sum() + 1e-7 for value in sigma]
    assert rankme(features) == pytest.approx(math.exp(-sum(x * math.log(x) for x in p)), rel=1e-9)


def test_rankme_ignores_scale_and_rotation_and_survives_collapse():
    features = normal(60, 8)
    assert rankme(1e3 * features @ orthonormal(8)) == pytest.approx(rankme(features), rel=1e-9)
    assert rankme(torch.zeros(60, 8)) == 0.0


def test_dead_units_are_counted():
    features = normal(200, 8).float()
    features[:, 0] = 0
    features[:, 1] = 0.1
    features[:, 2] *= 1e-8
    assert dead_units(features) == 3 / 8
    assert dead_units(torch.full((200, 8), 0.1)) == 1.0
    assert dead_units(normal(200, 8)) == 0.0


def test_alignment_of_equal_opposite_and_orthogonal_views():
    features = normal(30, 6)
    assert alignment(features, 9 * features) == pytest.approx(0, abs=1e-12)
    assert alignment(features, -features) == pytest.approx(4)
    assert alignment(torch.eye(6), torch.eye(6).roll(1, 0)) == pytest.approx(2)


def test_uniformity_is_the_double_loop():
    features = normal(20, 4)
    rows = unit(features)
    potentials = [
        math.exp(-2 * ((rows[i] - rows[j]) ** 2).sum()) for i in range(20) for j in range(20) if i != j
    ]
    assert uniformity(3 * features) == pytest.approx(math.log(sum(potentials) / len(potentials)), rel=1e-9)


def test_uniformity_at_its_ends():
    assert uniformity(torch.ones(10, 4)) == pytest.approx(0, abs=1e-9)
    assert uniformity(torch.tensor([[1.0, 0], [-1.0, 0]])) == pytest.approx(-8)


def test_info_nce_is_the_double_loop():
    first, second = normal(12, 4), normal(12, 4, seed=1)
    a, b = unit(first), unit(second)
    total = 0.0
    for x, y in ((a, b), (b, a)):
        for i in range(12):
            scores = [math.exp(x[i] @ y[j] / 0.3) for j in range(12)]
            total += math.log(scores[i] / (sum(scores) / 12)) / 24
    assert info_nce(first, second, 0.3) == pytest.approx(total, rel=1e-9)


def test_info_nce_of_equal_distinct_views_reaches_its_ceiling():
    features = orthonormal(16)
    assert info_nce(features, features, 0.01) == pytest.approx(math.log(16), abs=1e-9)


def described(first, second):
    return describe_views(first, second, fit_scaling(normal(2000, first.shape[1], seed=9)))


def test_independent_views_share_nothing():
    about = described(normal(1024, 4), normal(1024, 4, seed=1))
    assert about["info_nce_nats"] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("correlation", [0.5, 0.9, 0.99])
def test_the_bound_stays_below_the_known_information(correlation):
    """Correlated Gaussians: I = -D/2 log(1 - r^2) nats."""
    first = normal(1024, 4)
    second = correlation * first + math.sqrt(1 - correlation**2) * normal(1024, 4, seed=1)
    truth = -4 / 2 * math.log(1 - correlation**2)
    about = described(first, second)
    assert 0.3 * truth < about["info_nce_nats"] < truth + 0.05
    assert about["info_nce_nats"] <= about["info_nce_ceiling_nats"] == pytest.approx(math.log(768))
    assert about["view_images"] == 1024


def test_the_temperature_is_not_chosen_on_the_pairs_that_are_measured():
    """Every fourth pair is equal and asks for the sharpest critic, which the other pairs then refute."""
    first, second = normal(200, 4), normal(200, 4, seed=1)
    second[::4] = first[::4]
    about = described(first, second)
    scaling = fit_scaling(normal(2000, 4, seed=9))
    chosen = choose_temperature(scaling(first[::4]), scaling(second[::4]))
    assert about["info_nce_temperature"] == chosen < 0.1
    assert about["info_nce_nats"] < -1


def test_alignment_and_uniformity_are_of_both_views():
    first = normal(64, 4)
    second = torch.ones(64, 4, dtype=torch.float64)
    about = described(first, second)
    assert about["uniformity"] == pytest.approx(uniformity(first) / 2)
    assert about["alignment"] == pytest.approx(alignment(first, second))


def test_chosen_images_are_distinct_and_follow_the_seed():
    rows = choose_images(500, 0, 100)
    assert len(set(rows.tolist())) == 100
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == choose_images(500, 0, 100).tolist() != choose_images(500, 1, 100).tolist()
    assert choose_images(30, 0, 100).tolist() == list(range(30))


def tiny_encoder():
    torch.manual_seed(0)
    params = tiny_params(encoder__width=0.0625)
    return Encoder(params.encoder, [0.2, 0.2, 0.2], [0.3, 0.3, 0.3]).eval(), params.views


def test_views_follow_the_seed_and_their_images():
    encoder, views = tiny_encoder()
    images, _ = digit_images(40)
    first, second = encode_views(encoder, images, views, 0, CPU)
    again, _ = encode_views(encoder, images, views, 0, CPU)
    other, _ = encode_views(encoder, images, views, 1, CPU)
    assert first.shape == second.shape == (40, encoder.dim)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, second)
    assert alignment(first, second) < alignment(first, second.roll(1, 0))


def test_every_batch_draws_views_of_its_own(monkeypatch):
    encoder, views = tiny_encoder()
    images, _ = digit_images(8)
    monkeypatch.setattr(diagnostics, "VIEW_BATCH", 8)
    first, _ = encode_views(encoder, np.concatenate([images, images]), views, 0, CPU)
    assert not torch.equal(first[:8], first[8:])


def test_views_that_change_nothing_are_aligned():
    encoder, views = tiny_encoder()
    still = views.model_copy(
        update={
            "crop_scale": [1.0, 1.0],
            "crop_ratio": [1.0, 1.0],
            "flip_p": 0.0,
            "jitter_p": 0.0,
            "grayscale_p": 0.0,
        }
    )
    images, _ = digit_images(24)
    first, second = encode_views(encoder, images, still, 0, CPU)
    about = describe_views(first, second, fit_scaling(first))
    assert about["alignment"] == pytest.approx(0, abs=1e-9)
    assert about["info_nce_nats"] == pytest.approx(about["info_nce_ceiling_nats"], abs=0.05)


def test_features_are_described():
    features = normal(300, 8).float()
    about = describe_features(features, seed=0)
    assert about["dim"] == 8
    assert about["dead_units"] == 0
    assert 7.5 < about["rankme"] <= 8.001
    norms = [math.sqrt(sum(float(x) ** 2 for x in row)) for row in features]
    assert about["feature_norm"] == pytest.approx(sum(norms) / 300, rel=1e-6)
