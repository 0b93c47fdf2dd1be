"""Optimisers against updates worked by hand, and the learning rate at the corners of its course."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from infocl.config import OptimizerParams, ScheduleParams
from infocl.pretrain.optim import build_optimizer, learning_rate, set_learning_rate
from infocl.runtime.checkpoint import Checkpoints, Progress
from tests.pretrain.matrix import build, train

RATE, DECAY, MOMENTUM, TRUST = 0.1, 0.2, 0.8, 0.05
OPTIMIZERS = get_args(OptimizerParams.model_fields["name"].annotation)
SCHEDULES = get_args(ScheduleParams.model_fields["name"].annotation)


def optimizer_params(name, lr):
    return OptimizerParams(
        name=name,
        lr=lr,
        weight_decay=DECAY,
        momentum=MOMENTUM,
        trust_coefficient=TRUST,
        lr_placement="inside",
    )


def sgd(weight, gradients):
    velocity = 0.0
    for gradient in gradients:
        velocity = MOMENTUM * velocity + gradient + DECAY * weight
        weight -= RATE * velocity
    return weight


def adam(weight, gradients, decoupled):
    first = second = 0.0
    for step, gradient in enumerate(gradients, start=1):
        if decoupled:
            weight -= RATE * DECAY * weight
        else:
            gradient += DECAY * weight
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weight -= RATE * (first / (1 - 0.9**step)) / (math.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return weight


def lars(weight, gradients):
    velocity = 0.0
    for gradient in gradients:
        step = gradient + DECAY * weight
        velocity = MOMENTUM * velocity + RATE * TRUST * abs(weight) / abs(step) * step
        weight -= velocity
    return weight


BY_HAND = {
    "sgd": sgd,
    "adam": lambda w, g: adam(w, g, False),
    "adamw": lambda w, g: adam(w, g, True),
    "lars": lars,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_updates_are_those_worked_by_hand(name):
    weight = torch.nn.Parameter(torch.tensor([[1.5]], dtype=torch.float64))
    params = optimizer_params(name, lr=0.9)
    optimizer = build_optimizer(params, [weight, torch.nn.Parameter(torch.ones(2), requires_grad=False)])
    gradients = [0.3, -0.2, 0.2]  # the second points the other way before decay
    for gradient in gradients:
        set_learning_rate(optimizer, RATE)
        weight.grad = torch.tensor([[gradient]], dtype=torch.float64)
        optimizer.step()
    assert weight.item() == pytest.approx(BY_HAND[name](1.5, gradients), rel=1e-9)
    assert len(optimizer.param_groups[0]["params"]) == 1, "a weight without gradient is left out"


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("cosine", 0, 0.4 / 20),
        ("cosine", 18, 0.4 * 19 / 20),
        ("cosine", 20, 0.4),
        ("cosine", 60, 0.2),
        ("cosine", 99, 0.4 * 0.5 * (1 + math.cos(math.pi * 79 / 80))),
        ("cosine", 100, 0.0),
        ("constant", 0, 0.4 / 20),
        ("constant", 9, 0.2),
        ("constant", 20, 0.4),
        ("constant", 99, 0.4),
    ],
)
def test_the_rate_at_the_corners_of_its_course(schedule, step, expected):
    course = ScheduleParams(name=schedule, warmup_epochs=2.0)
    rate = learning_rate(step, peak=0.4, schedule=course, steps_per_epoch=10, total_steps=100)
    assert rate == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_warm_up_the_first_rate_is_the_peak(name):
    course = ScheduleParams(name=name, warmup_epochs=0.0)
    assert learning_rate(0, peak=0.4, schedule=course, steps_per_epoch=10, total_steps=100) == 0.4


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_may_be_all_warm_up(name):
    course = ScheduleParams(name=name, warmup_epochs=2.0)
    rates = [
        learning_rate(step, peak=0.4, schedule=course, steps_per_epoch=5, total_steps=10)
        for step in range(10)
    ]
    assert rates == pytest.approx([0.04 * (step + 1) for step in range(10)])


def trained(learner, optimizer, steps):
    """Losses of these of ten steps, four of them warm-up."""
    course = ScheduleParams(name="cosine", warmup_epochs=1.0)
    losses = []
    for step in steps:
        rate = learning_rate(step, peak=0.02, schedule=course, steps_per_epoch=4, total_steps=10)
        set_learning_rate(optimizer, rate)
        losses += train(learner, optimizer, [step])
    return losses


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_after_a_reload_both_go_on_in_lockstep(name, tmp_path):
    """The other learner has other weights and an optimiser that was already used."""
    learners = [build("byol", "rc", seed=seed)[0] for seed in (0, 7)]
    optimizers = [build_optimizer(optimizer_params(name, lr=0.9), one.parameters()) for one in learners]
    trained(learners[0], optimizers[0], range(5))
    trained(learners[1], optimizers[1], range(2))
    checkpoints = Checkpoints(tmp_path, "0" * 64)
    checkpoints.save(learners[0], optimizers[0], Progress(5, []))
    assert checkpoints.load(learners[1], optimizers[1]) == Progress(5, [])
    for step in range(5, 10):
        first, second = (
            trained(learner, optimizer, [step])
            for learner, optimizer in zip(learners, optimizers, strict=True)
        )
        assert first == second
        states = [learner.state_dict() for learner in learners]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items()), step


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_others_decay_every_weight(name):
    weights = [torch.nn.Parameter(torch.ones(shape, dtype=torch.float64)) for shape in ((3,), (1, 3))]
    optimizer = build_optimizer(optimizer_params(name, lr=RATE), weights)
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert all((weight < 1).all() for weight in weights)
