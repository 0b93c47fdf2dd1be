"""LBE's bound against the equation, its ceiling, invariances and a gradient check."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infocl.encoder.network import Levels
from infocl.pretrain.batch import Batch, View
from infocl.pretrain.regularizers.base import Shapes
from infocl.pretrain.regularizers.lbe import coarse_colors, mi_lower_bound, value_bound
from tests.pretrain import oracles
from tests.pretrain import oracles_regularizers as loops
from tests.pretrain.regularizers import views as common

SHAPES = Shapes((8, 16, 32), 32)


def features(count=6, dim=5, sigma=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return mean + sigma * torch.randn(count, dim, generator=generator, dtype=torch.float64), mean


def build(**changes):
    return common.build("lbe", SHAPES, **({"views": "joint"} | changes))


def view(lbe, count=12, seed=0):
    """Features so near each other that the bound is well below its ceiling, where little would count."""
    return common.view(lbe, count, seed, SHAPES, scale=0.15)


@pytest.mark.parametrize("rho", [0.01, 0.5, 3.0])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_equals_the_equation(count, rho):
    noisy, mean = features(count)
    expected = oracles.mi_lower_bound(noisy.tolist(), mean.tolist(), rho)
    assert mi_lower_bound(noisy, mean, rho).item() == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_gradient():
    noisy, mean = (x.requires_grad_() for x in features(4, 3))
    assert torch.autograd.gradcheck(lambda h, mu: mi_lower_bound(h, mu, 0.7), (noisy, mean))


@settings(max_examples=60)
@given(
    count=st.integers(1, 40),
    scale=st.floats(1e-3, 1e4),
    rho=st.floats(1e-4, 1e2),
    sigma=st.floats(1e-3, 10),
    seed=st.integers(0, 1000),
)
def test_never_above_log_n(count, scale, rho, sigma, seed):
    noisy, mean = features(count, sigma=sigma, seed=seed)
    shift = noisy - mean
    for dtype in (torch.float32, torch.float64):
        mu = (scale * mean).to(dtype)
        bound = mi_lower_bound(mu + shift.to(dtype), mu, rho)
        assert bound.isfinite()
        assert bound.item() <= math.log(count) + 1e-6


def test_limits():
    noisy, mean = features(16)
    assert mi_lower_bound(1e4 * mean + (noisy - mean), 1e4 * mean, 1.0).item() == pytest.approx(
        math.log(16)
    ), "far apart: every h says which mu it came from"
    same = mean[:1].expand(16, -1)
    assert mi_lower_bound(same + (noisy - mean), same, 1.0).item() == pytest.approx(0, abs=1e-12), (
        "one and the same mean: nothing is said"
    )


def test_unchanged_by_shift_and_rotation():
    noisy, mean = features()
    bound = mi_lower_bound(noisy, mean, 0.4)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    torch.testing.assert_close(mi_lower_bound(noisy + 7, mean + 7, 0.4), bound)
    torch.testing.assert_close(mi_lower_bound(noisy @ rotation, mean @ rotation, 0.4), bound)


def test_float32_survives_a_large_common_offset():
    noisy, mean = features(64, 32)
    expected = mi_lower_bound(noisy, mean, 0.05).item()
    shifted = mi_lower_bound((noisy + 500).float(), (mean + 500).float(), 0.05).item()
    assert shifted == pytest.approx(expected, abs=2e-3)


def test_raising_the_bound_raises_it():
    generator = torch.Generator().manual_seed(0)
    mean = (0.1 * torch.randn(32, 8, generator=generator)).requires_grad_()
    noise = 0.5 * torch.randn(32, 8, generator=generator)
    before = mi_lower_bound(mean + noise, mean, 1.0)
    for _ in range(20):
        (gradient,) = torch.autograd.grad(-mi_lower_bound(mean + noise, mean, 1.0), mean)
        mean = (mean - 0.5 * gradient).detach().requires_grad_()
    assert mi_lower_bound(mean + noise, mean, 1.0) > before + 0.1


def test_rho_is_the_papers_at_the_papers_widths():
    lbe = common.build("lbe", Shapes((512, 1024, 2048), 224))
    assert lbe.rhos == pytest.approx([0.05, 0.025, 1 / 80])


def test_joint_and_per_view_are_the_bounds_they_say():
    joint, per_view = build(), build(views="per_view")
    view1, view2 = view(joint, seed=1), view(joint, seed=2)
    rho = joint.rhos[-1]
    alone = [
        oracles.mi_lower_bound(v.features.tolist(), v.clean.level4.tolist(), rho) for v in (view1, view2)
    ]
    together = oracles.mi_lower_bound(
        [*view1.features.tolist(), *view2.features.tolist()],
        [*view1.clean.level4.tolist(), *view2.clean.level4.tolist()],
        rho,
    )
    assert per_view(Batch(view1, view2)).value.item() == pytest.approx(-sum(alone))
    assert joint(Batch(view1, view2)).value.item() == pytest.approx(-together)
    assert joint(Batch(view1, view2)).parts["mi_ceiling_nats"].item() == pytest.approx(math.log(24))
    assert per_view(Batch(view1, view2)).parts["mi_ceiling_nats"].item() == pytest.approx(math.log(12))


def test_levels_are_weighted():
    weights = [0.25, 0.5, 1.0]
    lbe = build(level_weights=weights)
    view1, view2 = view(lbe, seed=1), view(lbe, seed=2)
    expected = -sum(
        w
        * mi_lower_bound(
            torch.cat([view1.levels[i], view2.levels[i]]), torch.cat([view1.clean[i], view2.clean[i]]), rho
        ).item()
        for i, (w, rho) in enumerate(zip(weights, lbe.rhos, strict=True))
    )
    term = lbe(Batch(view1, view2))
    assert term.value.item() == pytest.approx(expected)
    assert {"mi_bound_nats", "mi_bound_nats_level2", "mi_bound_nats_level3"} <= set(term.parts)


def predicted_and_values(count=6, dim=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    log_rho = torch.randn(dim, generator=generator, dtype=torch.float64)
    return values + 0.5 * torch.randn(count, dim, generator=generator, dtype=torch.float64), values, log_rho


@pytest.mark.parametrize("count", [1, 2, 6])
def test_the_bound_by_values_equals_the_equation_and_is_never_above_log_n(count):
    predicted, values, log_rho = predicted_and_values(count)
    expected = loops.value_bound(predicted.tolist(), values.tolist(), log_rho.exp().tolist())
    found = value_bound(predicted, values, log_rho).item()
    assert found == pytest.approx(expected, rel=1e-11, abs=1e-12)
    told = value_bound(values, values, log_rho + 20).item()
    assert found <= told + 1e-9
    assert told == pytest.approx(math.log(count), abs=1e-6), "values that are told to the last digit"
    assert value_bound(0 * values, values[:1].expand_as(values), log_rho).item() == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="share one shape"):
        value_bound(predicted[:, 1:], values, log_rho)


def test_the_gradient_of_the_bound_by_values():
    given = [x.requires_grad_() for x in predicted_and_values(4, 2)]
    assert torch.autograd.gradcheck(value_bound, given)


@pytest.mark.parametrize("views", ["joint", "per_view"])
def test_features_are_held_against_the_coarse_colours_of_the_views(views):
    lbe = build(critic="pixels", views=views).double()
    pair = [replace(view(lbe, seed=seed), pixels=pixels(seed)) for seed in (1, 2)]
    critic = lbe.critics["2"]
    predicted = [critic.head(each.features).tolist() for each in pair]
    rhos = critic.log_rho.exp().tolist()
    every = loops.coarse_colors(torch.cat([each.pixels for each in pair]).tolist(), 4)
    values = [every[:12], every[12:]]
    if views == "joint":
        predicted, values = [predicted[0] + predicted[1]], [every]
    expected = [loops.value_bound(*one, rhos) for one in zip(predicted, values, strict=True)]
    term = lbe(Batch(*pair))
    assert term.value.item() == pytest.approx(-sum(expected), rel=1e-6)
    assert term.parts["mi_bound_nats"].item() == pytest.approx(sum(expected) / len(expected), rel=1e-6)
    assert term.parts["mi_ceiling_nats"].item() == pytest.approx(math.log(24 if views == "joint" else 12))


def test_the_bound_by_pixels_asks_for_the_colour_in_which_views_differ():
    """To the published bound it is all the same what the features hold, if they only differ."""
    by_pixels, by_features = {}, {}
    for holds in ("colour", "else"):
        torch.manual_seed(0)
        lbe = build(critic="pixels").double()
        optimizer = torch.optim.Adam(lbe.parameters(), 3e-2)
        for step in range(40):
            pair = [coloured(lbe, holds, 2 * step + number) for number in (0, 1)]
            term = lbe(Batch(*pair))
            optimizer.zero_grad()
            term.value.backward()
            optimizer.step()
        by_pixels[holds] = term.parts["mi_bound_nats"].item()
        by_features[holds] = build()(Batch(*pair)).parts["mi_bound_nats"].item()
    assert by_pixels["colour"] > 0.5
    assert by_pixels["else"] < 0.1
    assert by_features["else"] == pytest.approx(by_features["colour"], abs=0.3)


def coloured(lbe, holds, seed):
    """The same grain in another colour for each image, and features that hold the colour or another one."""
    generator = torch.Generator().manual_seed(seed)
    colours, others = torch.randn(2, 12, 3, generator=generator).double()
    held = torch.nn.functional.pad(colours if holds == "colour" else others, (0, 29))
    clean = Levels(held[:, :8], held[:, :16], held)
    noisy = lbe.perturb(clean, lbe.draw(12, generator, held))
    return View(pixels(0, 1) * 0.1 + colours[:, :, None, None], clean, noisy)


def pixels(seed, count=12):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)).double()


def test_images_of_any_size_have_as_many_colours():
    colors = build(critic="pixels").critics["2"].opponent
    assert {coarse_colors(torch.randn(2, 3, size, size), colors).shape for size in (8, 28, 96)} == {
        (2, 3, 16)
    }
    torch.testing.assert_close(colors @ colors.T, torch.eye(3))


def test_only_weighted_levels_have_a_critic_and_the_published_form_has_none():
    assert set(build(critic="pixels", level_weights=[0.25, 0.0, 1.0]).critics) == {"0", "2"}
    assert not list(build().state_dict())


def test_memory_is_a_matrix_not_a_cube():
    """At N = 4096, D = 2048 the broadcast form would need 128 GiB in float32."""
    mean = torch.randn(4096, 2048)
    assert mi_lower_bound(mean + 0.1 * torch.randn(4096, 2048), mean, 1 / 80).isfinite()


def test_refuses_unequal_shapes():
    noisy, mean = features()
    with pytest.raises(ValueError, match="share one shape"):
        mi_lower_bound(noisy[:-1], mean, 1.0)
