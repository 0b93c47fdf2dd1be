"""What only a real GPU shows: its graphs, that the host never waits, and what happens when memory ends."""

from __future__ import annotations

import pytest
import torch

from infocl.pretrain import loop
from infocl.pretrain.step import WARM_UP
from infocl.pretrain.training import pretrain, tuned
from infocl.runtime.errors import RetryableError
from infocl.runtime.history import History
from infocl.runtime.paths import PREPARED
from tests.cuda.test_device import DEVICE, start, steps
from tests.pretrain.matrix import EACH
from tests.workspace import tiny_params, write_prepared

__all__ = ["start"]  # the fixture


@pytest.mark.parametrize(("objective", "reg"), EACH)
def test_no_step_waits_for_the_device(start, objective, reg):
    run, history = start(tiny_params(objective__name=objective, reg__name=reg), DEVICE), History([])
    run.learner.train()
    with tuned(DEVICE):
        for step in range(WARM_UP + 1):
            loop._step(run, history, step)
        torch.cuda.set_sync_debug_mode("error")
        assert run.update._graph is not None
        try:
            for step in range(WARM_UP + 1, WARM_UP + 4):
                loop._step(run, history, step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert history.close(step=WARM_UP + 4)["loss"] == pytest.approx(0, abs=1e4)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "lars"])
@pytest.mark.parametrize(("objective", "storage"), [("simclr", "resident"), ("byol", "mapped")])
def test_with_a_graph_the_losses_are_those_without(start, objective, storage, optimizer):
    """Reductions of some kernels add in another order from run to run, so not bit for bit."""
    losses = []
    for graph in (False, True):
        params = tiny_params(
            objective__name=objective,
            train__precision="fp32",
            train__cuda_graph=graph,
            train__storage=storage,
            train__optimizer__name=optimizer,
        )
        run = start(params, DEVICE)
        losses.append(steps(run, range(WARM_UP + 5)))
        run.images.close()
    assert run.update._graph is not None
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)


def test_a_batch_beyond_the_memory_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared(PREPARED)
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (24 << 20)) / total)
    try:
        with pytest.raises(RetryableError, match=r"does not hold its share of a batch of train\.batch_size"):
            pretrain(tiny_params(encoder__width=1.0, train__device="cuda", train__batch_size=96))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
