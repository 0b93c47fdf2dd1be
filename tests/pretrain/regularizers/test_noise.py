"""Noise only: the strength of the noise, and no term."""

from __future__ import annotations

import pytest
import torch

from infocl.encoder.network import Levels
from tests.pretrain.regularizers.views import SHAPES, batch, build

NOISY = ["noise", "lbe", "mib"]


def perturbed(regularizer, clean, seed):
    generator = torch.Generator().manual_seed(seed)
    return regularizer.perturb(clean, regularizer.draw(len(clean.level4), generator, clean.level4))


@pytest.mark.parametrize("name", NOISY)
def test_noise_has_the_asked_strength_at_every_level(name):
    clean = Levels(*(torch.full((4000, d), 3.0) for d in SHAPES.level_dims))
    noisy = perturbed(build(name, sigma=0.3), clean, 0)
    for level in noisy:
        assert level.std().item() == pytest.approx(0.3, rel=0.01)
        assert level.mean().item() == pytest.approx(3, abs=0.01)
    assert not torch.equal(noisy.level2[:, :8], noisy.level3[:, :8])


def test_regularisers_of_one_sigma_draw_the_same_noise():
    clean = Levels(*(torch.zeros(6, d) for d in SHAPES.level_dims))
    drawn = [perturbed(build(name, sigma=0.2), clean, 5) for name in NOISY]
    for other in drawn[1:]:
        assert all(torch.equal(a, b) for a, b in zip(drawn[0], other, strict=True))


def test_there_is_no_term():
    noise = build("noise")
    term = noise(batch(noise))
    assert term.value.item() == 0
    assert not term.value.requires_grad
    assert not list(noise.parameters())


@pytest.mark.parametrize("name", ["lbe", "mib"])
def test_the_logged_length_is_that_of_the_features_without_noise(name):
    regularizer = build(name, sigma=5.0)
    views = batch(regularizer)
    clean = torch.cat([views.view1.clean.level4, views.view2.clean.level4])
    assert regularizer(views).parts["feature_norm"].item() == pytest.approx(clean.norm(dim=1).mean().item())
