"""Standardisation."""

from __future__ import annotations

import torch

from infocl.evaluate.scaling import fit_scaling


def test_mean_zero_and_deviation_one():
    features = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * 40 + 3
    scaled = fit_scaling(features)(features)
    assert scaled.dtype == torch.float64
    torch.testing.assert_close(scaled.mean(0), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(scaled.square().mean(0), torch.ones(6, dtype=torch.float64))


def test_a_constant_feature_is_only_centred():
    features = torch.stack([torch.full((1000,), 0.1), torch.zeros(1000), torch.arange(1000.0)], dim=1)
    scaling = fit_scaling(features)
    assert scaling.std[:2].tolist() == [1.0, 1.0]
    assert scaling(features)[:, :2].abs().max() < 1e-12
    assert scaling(torch.tensor([[0.1, 2.0, 0.0]]))[0, 1] == 2.0


def test_float32_rounding_is_not_taken_for_a_signal():
    wobble = 1 + 6e-8 * (torch.arange(1000) % 2)
    assert fit_scaling(wobble[:, None].float()).std.item() == 1.0
