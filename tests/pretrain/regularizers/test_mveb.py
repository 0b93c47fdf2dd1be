"""MVEB: the score's estimate against the equation and against distributions whose score is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import vonmises_fisher

from infocl.pretrain.regularizers.mveb import (
    entropy_surrogate,
    kernel_temperature,
    log_potential,
    stein_score,
)
from tests.pretrain import oracles_regularizers as oracles
from tests.pretrain.regularizers.views import batch, build, pair


def on_sphere(count, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def von_mises_fisher(count, dim, concentration):
    """Samples, and the true score: kappa times the mean direction's part along the sphere."""
    mean = np.eye(dim)[0]
    z = torch.from_numpy(vonmises_fisher(mean, concentration, seed=1).rvs(count))
    direction = torch.from_numpy(mean)
    return z, concentration * (direction - (z @ direction)[:, None] * z)


def cosine(a, b):
    return F.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


def rms(score):
    return score.square().sum(dim=1).mean().sqrt().item()


@pytest.mark.parametrize(("count", "dim"), [(1, 3), (5, 2), (6, 4)])
@pytest.mark.parametrize(("temperature", "ridge"), [(0.5, 0.01), (1.0, 2.0)])
def test_equals_the_equation(count, dim, temperature, ridge):
    z = on_sphere(count, dim)
    expected = oracles.stein_score(z.tolist(), temperature, ridge)
    np.testing.assert_allclose(stein_score(z, temperature, ridge).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dim", "concentration"), [(3, 5.0), (3, 1.0), (8, 10.0)])
def test_finds_the_score_of_a_von_mises_fisher_distribution(dim, concentration):
    z, true = von_mises_fisher(1500, dim, concentration)
    score = stein_score(z, 1.0, 20.0)
    assert cosine(score, true) > 0.97
    assert rms(score) == pytest.approx(rms(true), rel=0.1), "in direction and in size"


def test_with_the_published_knobs_it_points_the_right_way():
    z, true = von_mises_fisher(256, 32, 20.0)
    score = stein_score(z, kernel_temperature(z, 0.1), 0.01)
    assert cosine(score, true) > 0.5


def test_the_uniform_distribution_has_no_score():
    score = stein_score(on_sphere(1500, 3), 1.0, 20.0)
    assert rms(score) < 0.3


def test_the_other_arguments_gradient_would_say_nothing():
    """Why the sum is over K_ij z_i: K_ij z_j cancels against the inverse of K, up to the ridge."""
    z, true = von_mises_fisher(256, 8, 10.0)
    kernel = torch.exp(z @ z.T / 0.5)
    void = -torch.linalg.solve(kernel + 0.01 * torch.eye(256), kernel @ z / 0.5)
    void = void - (void * z).sum(dim=1, keepdim=True) * z
    assert rms(void) < 1e-3 * rms(true)
    assert rms(stein_score(z, 0.5, 0.01)) > rms(true)


def test_flat_space_and_sphere_agree_in_many_dimensions():
    z = on_sphere(256, 128)
    kernel = torch.exp(z @ z.T)
    flat = -torch.linalg.solve(kernel + 0.01 * torch.eye(256), kernel.sum(dim=1, keepdim=True) * z)
    flat = flat - (flat * z).sum(dim=1, keepdim=True) * z
    score = stein_score(z, 1.0, 0.01)
    assert (score - flat).norm() < 0.01 * flat.norm()


def test_scores_lie_along_the_sphere_and_turn_with_it():
    z = on_sphere(20, 5)
    score = stein_score(z, 0.5, 0.01)
    assert (score * z).sum(dim=1).abs().max().item() < 1e-9
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    torch.testing.assert_close(stein_score(z @ rotation, 0.5, 0.01), score @ rotation)


def test_float32_gives_what_float64_gives_at_the_sharpest_kernel():
    pole = torch.eye(16)[0]
    z = F.normalize(pole + 0.02 * on_sphere(256, 16).float(), dim=1)  # nearly collapsed: all rows of K alike
    exact = stein_score(z.double(), 0.1, 0.01)
    assert cosine(stein_score(z, 0.1, 0.01).double(), exact) > 0.9999


@pytest.mark.parametrize("embedding", [torch.ones(8, 4), torch.zeros(8, 4)])
def test_embeddings_that_are_all_the_same_give_no_nan(embedding):
    embedding = embedding.clone().requires_grad_()
    entropy_surrogate(embedding, 0.1, 0.01).backward()
    assert embedding.grad.isfinite().all()
    assert log_potential(embedding).item() == pytest.approx(0, abs=1e-6)


def test_the_temperature_is_the_median_distance_with_a_floor():
    z = on_sphere(9, 4)
    distances = sorted(1 - float(sum(a * b)) for a in z.numpy() for b in z.numpy())
    assert kernel_temperature(z, 0.1).item() == pytest.approx(distances[40])
    assert kernel_temperature(z, 5.0).item() == 5


def test_the_gradient_is_that_of_minus_the_entropy():
    """-E[s . dz] by the reparameterisation, through the normalisation, with the oracle's score."""
    embedding = pair(6, 4)[0].requires_grad_()
    value = entropy_surrogate(embedding, 0.1, 0.01)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-9)
    z = F.normalize(embedding.detach(), dim=1)
    tau = kernel_temperature(z, 0.1).item()
    score = torch.from_numpy(oracles.stein_score(z.tolist(), tau, 0.01))
    expected = score / (6 * embedding.detach().norm(dim=1, keepdim=True))
    torch.testing.assert_close(embedding.grad, expected, rtol=1e-4, atol=1e-6)


def test_the_length_of_embeddings_has_no_gradient():
    embedding = pair(8, 4)[0].requires_grad_()
    entropy_surrogate(embedding, 0.1, 0.01).backward()
    assert (embedding.grad * embedding).sum(dim=1).abs().max().item() < 1e-9


def test_following_the_gradient_spreads_a_concentrated_distribution():
    z = von_mises_fisher(200, 4, 8.0)[0]
    before = log_potential(z).item()
    for _ in range(60):
        z = z.requires_grad_()
        (gradient,) = torch.autograd.grad(entropy_surrogate(z, 0.1, 0.5), z)
        z = F.normalize(z.detach() - 2.0 * gradient, dim=1)
    uniform = log_potential(on_sphere(200, 4)).item()
    assert log_potential(z).item() < before - 0.6 * (before - uniform)


def test_uniformity():
    embedding, _ = pair()
    assert log_potential(embedding).item() == pytest.approx(oracles.log_potential(embedding.tolist()))
    assert log_potential(torch.tensor([[1.0, 0], [-2.0, 0]])).item() == pytest.approx(-8)
    assert log_potential(3 * embedding).item() == pytest.approx(log_potential(embedding).item())


def test_the_term_is_the_mean_over_the_views_embeddings():
    mveb = build("mveb", min_temperature=0.2, ridge=0.05)
    weight = torch.randn(32, 6, dtype=torch.float64, requires_grad=True)
    views = batch(mveb, embed=lambda h: h @ weight)
    term = mveb(views)
    (gradient,) = torch.autograd.grad(term.value, weight)
    alone = [entropy_surrogate((v.features @ weight).float(), 0.2, 0.05) for v in (views.view1, views.view2)]
    (expected,) = torch.autograd.grad((alone[0] + alone[1]) / 2, weight)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    assert gradient.norm().item() > 0
    assert math.isfinite(term.parts["embedding_uniformity"].item())


def test_refuses_what_it_cannot_work_with():
    with pytest.raises(ValueError, match="P at least 2"):
        entropy_surrogate(torch.ones(4, 1), 0.1, 0.01)
    mveb = build("mveb")
    with pytest.raises(ValueError, match="no projector"):
        mveb(batch(mveb))
