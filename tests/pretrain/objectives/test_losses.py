"""The relatives of NT-Xent against their equations, closed forms, invariances and gradient checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from infocl.pretrain.objectives import barlow_twins, byol, dcl, mocov3, simclr, simsiam, spectral, vicreg
from tests.pretrain import oracles_objectives as oracles


def draw(parts, count=7, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, dim, generator=generator, dtype=torch.float64) for _ in range(parts)]


def bt(z1, z2, off_diagonal=0.01):
    return barlow_twins.barlow_twins_loss(z1, z2, off_diagonal)


LOSSES = {  # ours, the oracle, how many inputs
    "dcl": (
        lambda a, b: dcl.decoupled_nt_xent(a, b, 0.1),
        lambda a, b: oracles.decoupled_nt_xent(a, b, 0.1),
        2,
    ),
    "byol": (byol.byol_loss, oracles.byol, 4),
    "simsiam": (simsiam.simsiam_loss, oracles.simsiam, 4),
    "mocov3": (lambda q, k: mocov3.moco_loss(q, k, 0.2), lambda q, k: oracles.moco(q, k, 0.2), 2),
    "spectral": (spectral.spectral_loss, oracles.spectral, 2),
    "barlow_twins": (bt, lambda a, b: oracles.barlow_twins(a, b, 0.01, 1e-5), 2),
    "variance": (vicreg.variance_hinge, lambda z: oracles.variance_hinge(z, 1e-4), 1),
    "covariance": (vicreg.covariance_penalty, oracles.covariance_penalty, 1),
}


@pytest.mark.parametrize("count", [2, 7])
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_equation(name, count):
    ours, oracle, parts = LOSSES[name]
    inputs = draw(parts, count)
    expected = oracle(*(z.numpy() for z in inputs))
    assert ours(*inputs).item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(name):
    """Of every input that a gradient reaches; the others, targets and keys, must get none."""
    ours, _, parts = LOSSES[name]
    stopped = {"byol": (2, 3), "simsiam": (2, 3), "mocov3": (1,)}.get(name, ())
    inputs = [z.requires_grad_() for z in draw(parts, 4, 3, seed=1)]
    free = [z for index, z in enumerate(inputs) if index not in stopped]
    grads = torch.autograd.grad(ours(*inputs), inputs, allow_unused=True)
    assert all((grads[index] is None) == (index in stopped) for index in range(parts))
    fixed = [z.detach() if index in stopped else z for index, z in enumerate(inputs)]

    def of_the_free(*values):
        replaced = iter(values)
        return ours(*(z if index in stopped else next(replaced) for index, z in enumerate(fixed)))

    assert torch.autograd.gradcheck(of_the_free, free)


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_images_says_nothing(name):
    ours, _, parts = LOSSES[name]
    inputs = draw(parts)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(2))
    shuffled = [z[order] for z in inputs]
    torch.testing.assert_close(ours(*shuffled), ours(*inputs), rtol=1e-12, atol=1e-12)
    if parts > 1:
        assert not torch.isclose(ours(inputs[0][order], *inputs[1:]), ours(*inputs))


@pytest.mark.parametrize("name", ["dcl", "byol", "simsiam", "mocov3"])
def test_cosine_losses_ignore_scale_and_rotation(name):
    ours, _, parts = LOSSES[name]
    inputs = draw(parts)
    rotation = torch.linalg.qr(draw(1, 5, 5, seed=3)[0]).Q
    turned = [3.0 * z @ rotation for z in inputs]
    torch.testing.assert_close(ours(*turned), ours(*inputs), rtol=1e-12, atol=1e-12)


def test_nt_xent_is_dcl_with_the_positive_in_the_denominator():
    z1, z2 = draw(2)
    with_positive, without = simclr.nt_xent(z1, z2, 0.1), dcl.decoupled_nt_xent(z1, z2, 0.1)
    assert without < with_positive
    eye = torch.eye(4, dtype=torch.float64)
    assert dcl.decoupled_nt_xent(eye, eye, 0.1).item() == pytest.approx(math.log(6) - 10)


def test_byol_is_zero_when_right_and_eight_when_opposite():
    (z,) = draw(1)
    assert byol.byol_loss(z, z, 2 * z, 3 * z).item() == pytest.approx(0, abs=1e-12)
    assert byol.byol_loss(z, z, -z, -z).item() == pytest.approx(8)


def test_simsiam_says_minus_one_also_of_a_collapse():
    ones = torch.ones(6, 4, dtype=torch.float64)
    assert simsiam.simsiam_loss(ones, ones, ones, ones).item() == pytest.approx(-1)


def test_moco_of_equal_embeddings_is_two_tau_log_n():
    ones = torch.ones(6, 4, dtype=torch.float64)
    assert mocov3.moco_loss(ones, ones, 0.2).item() == pytest.approx(0.4 * math.log(6))


def test_barlow_twins_of_equal_uncorrelated_views_is_zero_and_ignores_scale():
    signs = torch.tensor(np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]), dtype=torch.float64)
    assert bt(100 * signs, 100 * signs).item() == pytest.approx(0, abs=1e-8)
    assert bt(100 * signs, -100 * signs).item() == pytest.approx(8, rel=1e-6)
    z1, z2 = draw(2)
    torch.testing.assert_close(bt(1e3 * z1 + 5, 1e4 * z2 - 7), bt(1e5 * z1, 1e5 * z2), rtol=1e-7, atol=0)
    dead = torch.zeros_like(z1)
    assert bt(dead, z2).item() == pytest.approx(5)


def test_vicreg_parts_in_closed_form():
    signs = torch.tensor(np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]), dtype=torch.float64)
    assert vicreg.variance_hinge(signs).item() == 0
    assert vicreg.variance_hinge(torch.zeros_like(signs)).item() == pytest.approx(0.99)
    assert vicreg.covariance_penalty(signs).item() == pytest.approx(0, abs=1e-12)
    twice = signs[:, :1].repeat(1, 2)
    assert vicreg.covariance_penalty(twice).item() == pytest.approx((4 / 3) ** 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: dcl.decoupled_nt_xent(a, b[:3], 0.1),
        lambda a, b: dcl.decoupled_nt_xent(a[:1], b[:1], 0.1),
        lambda a, b: mocov3.moco_loss(a, b[:3], 0.2),
        lambda a, b: spectral.spectral_loss(a, b[:3]),
        lambda a, b: spectral.spectral_loss(a[:1], b[:1]),
        lambda a, b: bt(a, b[:3]),
    ],
)
def test_wrong_shapes_are_refused(call):
    with pytest.raises(ValueError, match="share one shape"):
        call(*draw(2))
