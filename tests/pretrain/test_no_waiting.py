"""On a GPU a step's draws follow the seed and the host never waits, seen on a pretended device."""

from __future__ import annotations

import pytest
import torch

from infocl.prepared.reader import load_prepared
from infocl.pretrain import loop
from infocl.pretrain import training as stage
from infocl.pretrain.parallel.process_group import ALONE
from infocl.runtime.paths import PREPARED, PRETRAIN
from tests.pretrain.matrix import EACH
from tests.pretrain.pretended_cuda import pretended_cuda
from tests.workspace import tiny_params, write_prepared


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Sets a run up on a device as pretraining does."""
    monkeypatch.chdir(tmp_path)
    prepared = load_prepared(write_prepared(PREPARED))
    return lambda params, device: stage._set_up(params, prepared, PRETRAIN, ALONE, torch.device(device))


def test_the_seed_decides_the_views_on_every_device(start):
    params = tiny_params()
    on_cpu = start(params, "cpu")
    expected = on_cpu.views(on_cpu.images.batch(0)[0], 7)
    with pretended_cuda() as device, torch.no_grad():
        run = start(params, "cuda")
        images = run.images.batch(0)[0]
        device.waits.clear()
        device.draws.clear()
        first, again = run.views(images, 7), run.views(images, 7)
    assert not device.waits
    assert not device.draws, "the seed does not set the device's own random state"
    for ours, repeated, on_the_cpu in zip(first, again, expected, strict=True):
        assert ours.device.type == "cuda"
        assert torch.equal(ours.value, repeated.value)
        assert torch.equal(ours.value, on_the_cpu)


@pytest.mark.parametrize(("objective", "reg"), EACH)
def test_no_step_waits_for_the_device(start, objective, reg):
    with pretended_cuda() as device, torch.no_grad():
        run = start(tiny_params(objective__name=objective, reg__name=reg, encoder__width=0.0625), "cuda")
        loop._loss(run, 0)
        device.waits.clear()
        loss = loop._loss(run, 1)
    assert loss.value.value.isfinite()
    assert not device.waits
