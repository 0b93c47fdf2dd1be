"""Objectives in float32 and under autocast where features are all alike, zero, huge or few."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch

from infocl.encoder.network import Levels
from infocl.encoder.numerics import standardised
from infocl.pretrain.objectives import (
    OBJECTIVES,
    barlow_twins,
    base,
    byol,
    dcl,
    mocov3,
    simclr,
    simsiam,
    spectral,
    vicreg,
)
from infocl.pretrain.regularizers import ip, lbe, mib, mixed, mveb, rc
from tests.pretrain.objectives.test_forward import batch, build

EXTREMES = {
    "equal": lambda x: torch.ones_like(x),
    "equal within a view": lambda x: x[:1].expand_as(x),
    "zero": torch.zeros_like,
    "huge": lambda x: 1e6 * x,
    "tiny": lambda x: 1e-6 * x,
    "far off": lambda x: x + 1e4,
}
SHARP = {name: {"temperature": 0.01} for name in ("simclr", "dcl", "mocov3")}


@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize(
    ("name", "block"),
    [(name, SHARP.get(name, {})) for name in OBJECTIVES] + [("barlow_twins", {"correlation": "released"})],
)
def test_loss_and_gradients_stay_finite(name, block, extreme, count):
    objective, given = build(name, **block).float(), batch(count)

    def changed(view):
        features = EXTREMES[extreme](view.features.float()).requires_grad_()
        return replace(view, levels=Levels(*[features] * 3), target=EXTREMES[extreme](view.target.float()))

    given = replace(given, view1=changed(given.view1), second=changed(given.view2))
    value = objective(given).value
    value.backward()
    assert value.isfinite()
    gradients = [weight.grad for weight in objective.parameters() if weight.grad is not None]
    gradients += [given.view1.features.grad, given.view2.features.grad]
    assert all(gradient.isfinite().all() for gradient in gradients)


N, P = 16, 8
MATRICES = [torch.randn(N, P, generator=torch.Generator().manual_seed(k)) for k in range(4)]
LOSSES = {
    simclr.nt_xent: (*MATRICES[:2], 0.1),
    dcl.decoupled_nt_xent: (*MATRICES[:2], 0.1),
    mocov3.moco_loss: (*MATRICES[:2], 0.1),
    spectral.spectral_loss: MATRICES[:2],
    byol.byol_loss: MATRICES,
    simsiam.simsiam_loss: MATRICES,
    barlow_twins.barlow_twins_loss: (*MATRICES[:2], 0.01),
    vicreg.variance_hinge: MATRICES[:1],
    vicreg.covariance_penalty: MATRICES[:1],
    ip.relative_distance: MATRICES[:2],
    ip.mean_squared_difference: MATRICES[:2],
    lbe.mi_lower_bound: (*MATRICES[:2], 0.05),
    mib.symmetrised_kl: (*MATRICES[:2], 0.1),
    mixed.mixed_correlation_error: (*MATRICES[:3], torch.arange(N).roll(1), torch.tensor(0.3)),
    mveb.entropy_surrogate: (MATRICES[0], 0.1, 0.01),
    mveb.log_potential: MATRICES[:1],
    rc.reconstruction_error: (MATRICES[0].view(2, 4, 4, 4), MATRICES[1].view(2, 4, 4, 4)),
    standardised: MATRICES[:1],
}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_every_loss_is_computed_in_float32_under_autocast(loss):
    """Also when its tensors come by name, and from tensors that autocast left in half precision."""
    expected = loss(*LOSSES[loss])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(*LOSSES[loss]), expected)
        assert torch.equal(
            loss(**dict(zip(inspect.signature(loss).parameters, LOSSES[loss], strict=False))), expected
        )
    rounded = [x.bfloat16() if torch.is_tensor(x) and x.is_floating_point() else x for x in LOSSES[loss]]
    again = [x.float() if torch.is_tensor(x) and x.dtype == torch.bfloat16 else x for x in rounded]
    assert torch.equal(loss(*rounded), loss(*again))
    assert loss(*rounded).dtype == torch.float32


def test_standardised_columns_have_mean_zero_and_variance_one_with_one_divisor():
    z = MATRICES[0].double() * 50 + 1e3
    ours = standardised(torch.cat([z, torch.full((N, 1), 7.0)], dim=1))
    torch.testing.assert_close(ours[:, :P].sum(0), torch.zeros(P, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(
        ours[:, :P].square().mean(0), torch.ones(P, dtype=torch.float64), atol=1e-7, rtol=0
    )
    assert torch.equal(ours[:, P], torch.zeros(N, dtype=torch.float64))
    half = torch.tensor([[-1.0], [1.0]]).double() * 1e-5**0.5
    assert standardised(half)[1, 0].item() == pytest.approx(0.5**0.5), "the floor is added to the variance"


def test_squares_beside_a_large_diagonal_are_never_negative():
    matrix = torch.diag(torch.rand(64, generator=torch.Generator().manual_seed(0)) * 1e4)
    assert base.off_diagonal_squares(matrix).item() == 0
    assert base.off_diagonal_squares(matrix + 1).item() == pytest.approx(64 * 63)
