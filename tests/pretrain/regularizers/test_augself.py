"""AugSelf's differences and errors against loops over the images, its symmetry, and what it learns."""

from __future__ import annotations

import pytest
import torch

from infocl.encoder.augment import Drawn
from infocl.encoder.network import Levels
from infocl.encoder.views import Views
from infocl.pretrain.batch import Batch, View
from infocl.pretrain.regularizers.augself import Differences, flip_error, regression_error
from infocl.pretrain.regularizers.base import Shapes
from tests.pretrain import oracles_regularizers as oracles
from tests.pretrain.regularizers import views as common
from tests.workspace import tiny_params

COUNT, SIZE = 12, 32
JITTER = (0.8, 0.8, 0.4, 0.2)
SHAPES = Shapes((4, 8, 16), SIZE, JITTER)
ALL = {"crop": 0.7, "color": 1.3, "flip": 0.4, "hidden": 24}


def plan_of(count=COUNT, seed=3):
    images = torch.empty(count, SIZE, SIZE, 3, dtype=torch.uint8)
    return Views(tiny_params(views__saturation=JITTER[2]).views, SIZE).plan(images, seed).double()


def naive(plan):
    """Differences of (view 1, view 2) of each image, then of (view 2, view 1), by loops."""
    drawn = Drawn.of(plan, SIZE)
    corner = drawn.center - drawn.extent / 2
    rows = torch.cat([corner, drawn.extent, drawn.mirrored[:, None], drawn.color], 1).tolist()
    half = len(rows) // 2
    pairs = [*zip(rows[:half], rows[half:], strict=True), *zip(rows[half:], rows[:half], strict=True)]
    return list(zip(*[oracles.augmentation_differences(*pair, JITTER) for pair in pairs], strict=True))


def build(**changes):
    torch.manual_seed(0)
    return common.build("augself", SHAPES, **(ALL | changes)).double()


def batch(features1, features2, plan):
    views = [View(torch.empty(0), *(2 * [Levels(z[:, :4], z[:, :8], z)])) for z in (features1, features2)]
    return Batch(*views, plan=plan)


def features(count=COUNT, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, 16, generator=generator, dtype=torch.float64)


def test_differences_are_those_of_a_loop_over_the_pairs():
    plan = plan_of()
    found = Differences.between(Drawn.of(plan, SIZE), JITTER)
    for given, expected in zip(found, naive(plan), strict=True):
        torch.testing.assert_close(given, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
        assert given.abs().max() <= 1
    assert 0 < found.flip.mean() < 1


def test_the_term_is_the_weighted_sum_of_the_errors_in_both_orders():
    term, plan, (z1, z2) = build().eval(), plan_of(), features()
    pairs = torch.cat([torch.cat([z1, z2], 1), torch.cat([z2, z1], 1)])
    predicted = {name: term.predictors[name](pairs).tolist() for name in ("crop", "color", "flip")}
    crop, color, flip = naive(plan)
    errors = {
        "crop": oracles.difference_error(predicted["crop"], crop),
        "color": oracles.difference_error(predicted["color"], color),
        "flip": oracles.flip_error(predicted["flip"], flip),
    }
    found = term(batch(z1, z2, plan))
    assert found.value.item() == pytest.approx(sum(ALL[name] * errors[name] for name in errors), rel=1e-6)
    assert {name: part.item() for name, part in found.parts.items()} == pytest.approx(
        {f"{name}_error": error for name, error in errors.items()}, rel=1e-6
    )


def test_shipped_are_crop_and_color_as_published():
    shipped = common.build("augself", SHAPES)
    assert shipped.weights == {"crop": 1.0, "color": 1.0}
    assert [layer.out_features for layer in shipped.predictors["crop"] if hasattr(layer, "in_features")] == [
        512,
        512,
        4,
    ]


def test_gradients():
    predicted = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    difference = torch.rand(5, 4, dtype=torch.float64) * 2 - 1
    assert torch.autograd.gradcheck(lambda p: regression_error(p, difference), (predicted,))
    log_odds = predicted.detach()[:, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda p: flip_error(p, (difference[:, :1] > 0).double()), (log_odds,))
    term, plan = build(), plan_of(3)
    first, second = (z.requires_grad_() for z in features(3).unbind())
    assert torch.autograd.gradcheck(lambda a, b: term(batch(a, b, plan)).value, (first, second))


def test_views_swapped_give_the_same_term():
    term, plan, (z1, z2) = build(), plan_of(), features()
    swapped = batch(z2, z1, plan.roll(COUNT, 0))
    torch.testing.assert_close(term(swapped).value, term(batch(z1, z2, plan)).value, rtol=1e-10, atol=0)


def test_a_strength_of_zero_has_no_difference():
    drawn = Drawn.of(plan_of(), SIZE)
    assert torch.equal(
        Differences.between(drawn, (0.8, 0.8, 0.0, 0.2)).color[:, 2], torch.zeros(2 * COUNT).double()
    )


def what_was_done(plan):
    """Features that hold it, standardised, of both views."""
    drawn = Drawn.of(plan, SIZE)
    told = torch.cat([drawn.center, drawn.extent, drawn.mirrored[:, None], drawn.color], 1)
    return torch.nn.functional.pad((told - told.mean(0)) / told.std(0), (0, 7)).chunk(2)


def test_features_that_hold_what_was_done_let_it_be_predicted_for_other_images():
    count, errors = 64, []
    for of in (what_was_done, lambda plan: features(count, int(plan.sum() * 1e6) % 1000)):
        term = build()
        optimizer = torch.optim.Adam(term.parameters(), 3e-3)
        for step in range(60):
            plan = plan_of(count, step)
            optimizer.zero_grad()
            found = term(batch(*of(plan), plan))
            found.value.backward()
            optimizer.step()
        errors.append(found.value.item())
    assert errors[0] < 0.6 * errors[1]


def test_without_what_was_drawn_it_says_so():
    with pytest.raises(ValueError, match="does not say it"):
        build()(batch(*features(), None))
