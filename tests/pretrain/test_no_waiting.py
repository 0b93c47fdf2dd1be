"""On a GPU a step's draws follow the seed and the host never waits, seen on a pretended device."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from infocl.config import OptimizerParams
from infocl.prepared.reader import load_prepared
from infocl.pretrain import loop
from infocl.pretrain import training as stage
from infocl.pretrain.parallel.process_group import ALONE
from infocl.runtime.history import History
from infocl.runtime.paths import PREPARED, PRETRAIN
from tests.pretrain.matrix import EACH
from tests.pretrain.pretended_cuda import pretended_cuda
from tests.workspace import tiny_params, write_prepared

OPTIMIZERS = get_args(OptimizerParams.model_fields["name"].annotation)
# Launches of a step at most, on a ResNet-18; one of 512 images in 12 ms has time for about 2,500 in all.
BUDGET = {
    "batch": 2,
    "views": 125,
    "noise": 3,
    "encoder": 110,  # each pass of it or of its target
    "objective": 80,
    "regularizer": 100,
    "backward": 400,
    "rest": 30,
    "target": 5,
    "history": 1,
}
OPTIMIZER_BUDGET = {"adam": 2, "adamw": 2, "sgd": 1, "lars": 22}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Sets a run up on a device as pretraining does."""
    monkeypatch.chdir(tmp_path)
    prepared = load_prepared(write_prepared(PREPARED))
    return lambda params, device: stage._set_up(params, prepared, PRETRAIN, ALONE, torch.device(device))


def drawn(run):
    """The images and both views of two steps of different epochs, and the noise of one."""
    images = [run.images.batch(step)[0] for step in (0, 3)]
    noise = run.learner.draw(32, torch.Generator(run.device).manual_seed(5))
    return [*images, *run.views(images[0], 7), *run.views(images[1], 7), *noise]


@pytest.mark.parametrize("reg", ["lbe", "mixed"])
def test_the_seed_decides_what_is_drawn_on_every_device(start, reg):
    params = tiny_params(reg__name=reg)
    expected = drawn(start(params, "cpu"))
    with pretended_cuda() as device, torch.no_grad():
        run = start(params, "cuda")
        device.waits.clear()
        device.draws.clear()
        first, again = drawn(run), drawn(run)
    assert not device.waits
    assert set(device.draws) <= {"randn", "rand", "randperm"}, "only noise is drawn on the device"
    for ours, repeated, on_the_cpu in zip(first, again, expected, strict=True):
        assert ours.device.type == "cuda"
        assert torch.equal(ours.value, repeated.value)
        assert torch.equal(ours.value, on_the_cpu)


def launches(start, objective, reg, optimizer):
    """Launches of the second step by phase; that neither step makes the host wait is seen to."""
    params = tiny_params(
        objective__name=objective,
        reg__name=reg,
        encoder__width=0.0625,
        train__optimizer__name=optimizer,
    )
    with pretended_cuda() as device:
        run, history = start(params, "cuda"), History([])
        learner = run.learner
        device.watch(run.views, "plan", "views")
        device.watch(run.views, "make", "views")
        device.watch(run.images, "batch", "batch")
        device.watch(learner, "draw", "noise")
        device.watch(learner, "pull", "target")
        device.watch(learner, "follow", "target")
        device.watch(learner.objective, "forward", "objective")
        device.watch(learner.regularizer, "forward", "regularizer")
        for encoder in filter(None, (learner.encoder, learner.target)):
            device.watch(encoder, "forward_levels", "encoder")
        device.watch(run.optimizer, "step", "optimizer")
        device.watch(history, "add", "history")
        device.waits.clear()
        for step in range(2):
            device.launches.clear()
            loop._step(run, history, step)
        assert not device.waits
    assert all(row.value.isfinite() for row in history._sums.values())
    return dict(device.launches), bool(learner.target) + (reg == "mixed") + 1


@pytest.mark.parametrize(
    ("objective", "reg", "optimizer"),
    [(*pair, "adam") for pair in EACH] + [("byol", "rc", name) for name in OPTIMIZERS[1:]],
)
def test_no_step_waits_for_the_device_and_each_phase_keeps_its_budget(start, objective, reg, optimizer):
    used, passes = launches(start, objective, reg, optimizer)
    budget = BUDGET | {"encoder": passes * BUDGET["encoder"], "optimizer": OPTIMIZER_BUDGET[optimizer]}
    assert {phase: count for phase, count in used.items() if count > budget.get(phase, 0)} == {}
