"""MIB's divergence against the general formula, torch's own, and the released term."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from infocl.pretrain.regularizers.ip import mean_squared_difference
from infocl.pretrain.regularizers.mib import symmetrised_kl
from tests.pretrain import oracles_regularizers as oracles
from tests.pretrain.regularizers.views import batch, build, pair


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("count", [1, 6])
def test_equals_the_equation(count, sigma):
    mu1, mu2 = pair(count)
    expected = oracles.symmetrised_kl(mu1.tolist(), mu2.tolist(), sigma)
    assert symmetrised_kl(mu1, mu2, sigma).item() == pytest.approx(expected, rel=1e-12)


def test_equals_the_divergence_that_torch_computes():
    mu1, mu2 = pair()
    p, q = (Independent(Normal(mu, 0.2), 1) for mu in (mu1, mu2))
    expected = (kl_divergence(p, q) + kl_divergence(q, p)).mean() / 2
    torch.testing.assert_close(symmetrised_kl(mu1, mu2, 0.2), expected)


def test_gradient():
    mu1, mu2 = (x.requires_grad_() for x in pair(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: symmetrised_kl(a, b, 0.7), (mu1, mu2))


def test_closed_forms_and_invariances():
    mu1, mu2 = pair()
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    kl = symmetrised_kl(mu1, mu2, 0.4)
    assert symmetrised_kl(mu1, mu1, 0.4).item() == 0
    assert symmetrised_kl(mu1, mu1 + 0.4, 0.4).item() == pytest.approx(5 / 2), "one sigma in 5 dimensions"
    torch.testing.assert_close(symmetrised_kl(mu2, mu1, 0.4), kl)
    torch.testing.assert_close(symmetrised_kl(mu1 @ rotation + 3, mu2 @ rotation + 3, 0.4), kl)
    torch.testing.assert_close(symmetrised_kl(2 * mu1, 2 * mu2, 0.8), kl)


def test_the_term_reads_the_means_while_the_objective_sees_noise():
    mib = build("mib", sigma=0.5)
    views = batch(mib)
    assert not torch.equal(views.view1.features, views.view1.clean.level4)
    expected = symmetrised_kl(views.view1.clean.level4, views.view2.clean.level4, 0.5)
    torch.testing.assert_close(mib(views).value, expected)


def test_the_released_weight_in_nats():
    mu1, mu2 = pair(8, 512)
    released = 5e-4 * mean_squared_difference(mu1, mu2)
    torch.testing.assert_close(released, 5e-4 * 2 * 0.1**2 / 512 * symmetrised_kl(mu1, mu2, 0.1))


def test_refuses_unequal_shapes():
    mu1, mu2 = pair()
    with pytest.raises(ValueError, match="share one shape"):
        symmetrised_kl(mu1[:-1], mu2, 0.1)
