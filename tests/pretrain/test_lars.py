"""LARS against a plain loop over single values, its exclusions, its corners, and no value read back."""

from __future__ import annotations

import math
import random

import pytest
import torch

from infocl.pretrain.lars import LARS
from infocl.runtime.device import choose_device

DEVICE = choose_device("auto")
SHAPES = [(3, 2, 2, 2), (4, 3), (5,), (), (2, 1), (1, 4)]
KNOBS = {"lr": 0.7, "momentum": 0.9, "weight_decay": 0.3, "trust_coefficient": 0.02}


def weight_of(values, shape):
    tensor = torch.tensor(values, dtype=torch.float64, device=DEVICE).reshape(shape)
    return torch.nn.Parameter(tensor)


def flat(tensor):
    return tensor.detach().flatten().tolist()


def length(values):
    return math.sqrt(sum(value * value for value in values))


def by_hand(weight, velocity, gradient, dimensions, rate):
    """Algorithm 1 of You et al. on lists of numbers: the new weight and velocity."""
    factor, step = 1.0, gradient
    if dimensions > 1:
        step = [g + KNOBS["weight_decay"] * w for g, w in zip(gradient, weight, strict=True)]
        if length(weight) > 0 and length(step) > 0:
            factor = KNOBS["trust_coefficient"] * length(weight) / length(step)
    velocity = [KNOBS["momentum"] * v + rate * factor * s for v, s in zip(velocity, step, strict=True)]
    return [w - v for w, v in zip(weight, velocity, strict=True)], velocity


def test_many_steps_are_those_of_the_plain_loop():
    """Mixed shapes, a weight that starts at zero, gradients that are zero or missing at times."""
    draw = random.Random(0)
    sizes = [math.prod(shape) for shape in SHAPES]
    values = [[draw.gauss(0, 1) for _ in range(size)] for size in sizes]
    values[1] = [0.0] * sizes[1]
    velocities = [[0.0] * size for size in sizes]
    weights = [weight_of(value, shape) for value, shape in zip(values, SHAPES, strict=True)]
    optimizer = LARS(weights, **KNOBS)
    for step in range(60):
        rate = KNOBS["lr"] * (1 + step) / 60
        optimizer.param_groups[0]["lr"] = rate
        for index, (weight, shape) in enumerate(zip(weights, SHAPES, strict=True)):
            if (step + index) % 7 == 0:
                weight.grad = None
                continue
            scale = 0.0 if (step + index) % 5 == 0 else 10.0 ** draw.randint(-3, 3)
            gradient = [scale * draw.gauss(0, 1) for _ in range(sizes[index])]
            weight.grad = weight_of(gradient, shape).detach()
            values[index], velocities[index] = by_hand(
                values[index], velocities[index], gradient, len(shape), rate
            )
        kept = [None if weight.grad is None else weight.grad.clone() for weight in weights]
        optimizer.step()
        for weight, value, gradient in zip(weights, values, kept, strict=True):
            assert flat(weight) == pytest.approx(value, rel=1e-9, abs=1e-12)
            assert gradient is None or torch.equal(weight.grad, gradient), "gradients stay as they are"


def moved(gradient_scale, shape, start=1.0, steps=5, **knobs):
    """Where a weight comes to by five gradients, all scaled alike."""
    draw = torch.Generator().manual_seed(1)
    weight = weight_of([start + i for i in range(math.prod(shape))], shape)
    optimizer = LARS([weight], **KNOBS | knobs)
    for _ in range(steps):
        gradient = torch.randn(shape, generator=draw, dtype=torch.float64).to(DEVICE)
        weight.grad = gradient_scale * gradient
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("scale", [1e-8, 0.3, 1e8])
def test_the_scale_of_a_gradient_does_not_matter_without_decay(scale):
    torch.testing.assert_close(moved(scale, (2, 3), weight_decay=0.0), moved(1.0, (2, 3), weight_decay=0.0))
    assert not torch.allclose(moved(scale, (2, 3)), moved(1.0, (2, 3))), "decay has a scale of its own"
    assert not torch.allclose(moved(scale, (6,), weight_decay=0.0), moved(1.0, (6,), weight_decay=0.0))


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_where_the_rate_stands_matters_only_where_it_changes(shape):
    def end(rates, **knobs):
        weight = weight_of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], shape)
        optimizer = LARS([weight], **KNOBS | knobs)
        for rate in rates:
            optimizer.param_groups[0]["lr"] = rate
            weight.grad = torch.full_like(weight, 0.5)
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(end([0.2] * 4, lr_inside=False), end([0.2] * 4))
    assert not torch.allclose(end([0.2, 0.1, 0.05], lr_inside=False), end([0.2, 0.1, 0.05]))
    # What entered at a large rate moves on after the rate has fallen to zero only where the rate is inside.
    assert torch.equal(end([0.2, 0.0], lr_inside=False), end([0.2], lr_inside=False))
    assert not torch.equal(end([0.2, 0.0]), end([0.2]))


def test_the_length_of_a_first_step():
    """At lr 1 it is the trust coefficient's share of the weight's length."""
    weight = weight_of([3.0, 4.0], (1, 2))
    weight.grad = torch.full_like(weight, 123.0)
    LARS([weight], **KNOBS | {"lr": 1.0}).step()
    start = torch.tensor([[3.0, 4.0]], dtype=torch.float64, device=DEVICE)
    assert (weight.detach() - start).norm().item() == pytest.approx(0.02 * 5)


@pytest.mark.parametrize("shape", [(), (6,)])
def test_weights_of_one_dimension_are_those_of_sgd_without_decay(shape):
    weights = [weight_of([1.5] * math.prod(shape), shape) for _ in range(2)]
    optimizers = [LARS(weights[:1], **KNOBS), torch.optim.SGD(weights[1:], lr=0.7, momentum=0.9)]
    for step in range(4):
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.grad = torch.full_like(weight, step - 1.2)
            optimizer.step()
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_zeros_move_and_nothing_becomes_nan(shape):
    zero = weight_of([0.0] * 6, shape)
    optimizer = LARS([zero], **KNOBS)
    zero.grad = torch.zeros_like(zero)
    optimizer.step()
    assert torch.equal(zero.detach(), torch.zeros_like(zero)), "neither weight nor gradient: no move"
    zero.grad = torch.ones_like(zero)
    optimizer.step()
    torch.testing.assert_close(zero.detach(), torch.full_like(zero, -0.7), msg="as SGD moves it")
    for decay in (0.0, 0.3):
        still = weight_of([1.0] * 6, shape)
        still.grad = torch.zeros_like(still)
        LARS([still], **KNOBS | {"weight_decay": decay}).step()
        decayed = 1 - 0.7 * 0.02 if decay and len(shape) > 1 else 1.0
        torch.testing.assert_close(still.detach(), torch.full_like(still, decayed))


def test_a_weight_without_gradient_stays_and_has_no_state():
    weights = [weight_of([1.0, 2.0], shape) for shape in ((1, 2), (2,), (1, 2))]
    optimizer = LARS(weights, **KNOBS)
    optimizer.step()
    weights[2].grad = torch.ones_like(weights[2])
    optimizer.step()
    assert [flat(weight) == [1.0, 2.0] for weight in weights] == [True, True, False]
    assert list(optimizer.state_dict()["state"]) == [2]


def test_a_step_reads_no_value_back_from_the_device():
    """Tensors on the device `meta` have shapes but no values, so that a step that asks for one fails."""
    weights = [torch.nn.Parameter(torch.empty(shape, device="meta")) for shape in SHAPES]
    for weight in weights:
        weight.grad = torch.empty_like(weight)
    optimizer = LARS(weights, **KNOBS)
    for _ in range(2):
        optimizer.step()
    assert all(optimizer.state[weight]["momentum_buffer"].is_meta for weight in weights)


@pytest.mark.parametrize(
    "read",
    [torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu, bool, float, lambda x: x if x > 0 else -x],
)
def test_a_read_fails_without_values(read):
    with pytest.raises((RuntimeError, NotImplementedError)):
        read(torch.empty((), device="meta"))
