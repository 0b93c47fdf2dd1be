"""Optimisers against updates worked by hand, and the learning rate at the corners of its course."""

from __future__ import annotations

import math

import pytest
import torch

from infocl.config import OptimizerParams, ScheduleParams
from infocl.optim import build_optimizer, learning_rate, set_learning_rate

RATE, DECAY, MOMENTUM = 0.1, 0.2, 0.9


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


BY_HAND = {"sgd": sgd, "adam": lambda w, g: adam(w, g, False), "adamw": lambda w, g: adam(w, g, True)}


@pytest.mark.parametrize("name", BY_HAND)
def test_three_updates_are_those_worked_by_hand(name):
    weight = torch.nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
    params = OptimizerParams(name=name, lr=5.0, weight_decay=DECAY, momentum=MOMENTUM)
    optimizer = build_optimizer(params, [weight, torch.nn.Parameter(torch.ones(2), requires_grad=False)])
    gradients = [0.3, -0.7, 0.2]
    for gradient in gradients:
        set_learning_rate(optimizer, RATE)
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
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
        ("constant", 9, 0.2),
        ("constant", 20, 0.4),
        ("constant", 99, 0.4),
    ],
)
def test_the_rate_at_the_corners_of_its_course(schedule, step, expected):
    course = ScheduleParams(name=schedule, warmup_epochs=2.0)
    rate = learning_rate(step, peak=0.4, schedule=course, steps_per_epoch=10, total_steps=100)
    assert rate == pytest.approx(expected, rel=1e-12)
