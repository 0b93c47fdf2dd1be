"""IP's distances against the equations, their limits, invariances and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infocl.pretrain.regularizers.ip import mean_squared_difference, relative_distance
from tests.pretrain import oracles_regularizers as oracles
from tests.pretrain.regularizers.views import batch, build, pair


@pytest.mark.parametrize("count", [1, 2, 6])
def test_equals_the_equation(count):
    h1, h2 = pair(count)
    assert relative_distance(h1, h2).item() == pytest.approx(
        oracles.relative_distance(h1.tolist(), h2.tolist()), rel=1e-12
    )
    assert mean_squared_difference(h1, h2).item() == pytest.approx(
        oracles.mean_squared_difference(h1.tolist(), h2.tolist()), rel=1e-12
    )


@pytest.mark.parametrize("distance", [relative_distance, mean_squared_difference])
def test_gradient(distance):
    h1, h2 = (x.requires_grad_() for x in pair(4, 3))
    assert torch.autograd.gradcheck(distance, (h1, h2))


def test_limits():
    h1, _ = pair(2000, 8)
    unrelated, _ = pair(2000, 8, seed=1)
    assert relative_distance(h1, h1).item() == 0
    assert relative_distance(h1, -h1).item() == pytest.approx(2, rel=1e-3)
    assert relative_distance(h1, unrelated).item() == pytest.approx(1, abs=0.03)


def test_features_that_are_all_the_same_give_no_nan():
    h = torch.ones(4, 3, requires_grad=True)
    value = relative_distance(h, h.clone())
    value.backward()
    assert value.item() == 0
    assert torch.equal(h.grad, torch.zeros(4, 3))


@settings(max_examples=40)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10))
def test_unchanged_by_scale_shift_rotation_and_exchange(scale, shift):
    h1, h2 = pair()
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    expected = relative_distance(h1, h2)
    moved = [scale * (h @ rotation) + shift for h in (h2, h1)]
    torch.testing.assert_close(relative_distance(*moved), expected)


def test_shrinking_the_features_does_not_lower_it():
    h1, h2 = (x.requires_grad_() for x in pair())
    relative_distance(h1, h2).backward()
    along_scale = (h1.grad * h1).sum() + (h2.grad * h2).sum()
    assert along_scale.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("distance", ["relative", "mean_squared"])
def test_the_term_is_the_chosen_distance_of_the_representations(distance):
    ip = build("ip", distance=distance)
    views = batch(ip)
    h1, h2 = views.view1.clean.level4, views.view2.clean.level4
    chosen = {"relative": relative_distance, "mean_squared": mean_squared_difference}[distance]
    term = ip(views)
    assert term.value.item() == pytest.approx(chosen(h1, h2).item(), rel=1e-12)
    assert term.parts["relative_distance"].item() == pytest.approx(relative_distance(h1, h2).item())
    norm = torch.cat([h1, h2]).norm(dim=1).mean().item()
    assert term.parts["feature_norm"].item() == pytest.approx(norm)


def test_the_released_weight_in_terms_of_the_relative_distance():
    h1, h2 = pair(64, 16)
    variance = torch.cat([h1, h2]).var(dim=0, correction=0).mean()
    released = 5e-4 * mean_squared_difference(h1, h2)
    torch.testing.assert_close(released, 5e-4 * 2 * variance * relative_distance(h1, h2))


def test_refuses_unequal_shapes():
    h1, h2 = pair()
    with pytest.raises(ValueError, match="share one shape"):
        relative_distance(h1[:-1], h2)
