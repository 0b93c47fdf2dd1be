"""NT-Xent against the equation, closed forms, invariances and a gradient check."""

from __future__ import annotations

import math

import pytest
import torch

from infocl.pretrain.objectives.simclr import nt_xent
from tests.pretrain import oracles


def pair(count=7, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, dim, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_equals_the_equation(count, temperature):
    z1, z2 = pair(count)
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(
        oracles.nt_xent(z1.numpy(), z2.numpy(), temperature), rel=1e-12, abs=1e-12
    )


def test_gradient():
    z1, z2 = (z.requires_grad_() for z in pair(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), (z1, z2))


@pytest.mark.parametrize("count", [2, 8])
def test_aligned_orthogonal_pairs_in_closed_form(count):
    z = torch.eye(count, dtype=torch.float64)
    tau = 0.5
    expected = -1 / tau + math.log(math.exp(1 / tau) + 2 * count - 2)
    assert nt_xent(z, z, tau).item() == pytest.approx(expected, rel=1e-12)


def test_equal_embeddings_give_the_log_of_the_choices():
    z = torch.ones(6, 4, dtype=torch.float64)
    assert nt_xent(z, z, 0.3).item() == pytest.approx(math.log(11), rel=1e-12)


def test_invariances():
    z1, z2 = pair()
    loss = nt_xent(z1, z2, 0.5)
    order = torch.randperm(len(z1), generator=torch.Generator().manual_seed(1))
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    for other in (
        nt_xent(z2, z1, 0.5),
        nt_xent(z1[order], z2[order], 0.5),
        nt_xent(z1 * 3, z2 * 0.1, 0.5),
        nt_xent(z1 @ rotation, z2 @ rotation, 0.5),
    ):
        torch.testing.assert_close(other, loss, rtol=1e-12, atol=0)
    assert not torch.isclose(nt_xent(z1, z2[order], 0.5), loss)


def test_stays_in_float32_under_autocast():
    z1, z2 = (z.float() for z in pair(64, 32))
    expected = nt_xent(z1, z2, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = nt_xent(z1, z2, 0.1)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, expected)
    assert nt_xent(z1.bfloat16(), z2.bfloat16(), 0.1).dtype == torch.float32


def test_finite_at_the_smallest_useful_temperature():
    z1, z2 = (z.float().requires_grad_() for z in pair(16, 8))
    loss = nt_xent(z1, z2, 1e-3)
    loss.backward()
    assert loss.isfinite()
    assert z1.grad.isfinite().all()


def test_refuses_unequal_shapes():
    z1, z2 = pair()
    with pytest.raises(ValueError, match="share one shape"):
        nt_xent(z1, z2[:-1], 0.5)
