"""What only a real GPU shows: that the host never waits, and what happens when memory ends."""

from __future__ import annotations

import pytest
import torch

from infocl.pretrain import loop
from infocl.pretrain.training import fast_kernels, pretrain
from infocl.runtime.errors import RetryableError
from infocl.runtime.history import History
from infocl.runtime.paths import PREPARED
from tests.cuda.test_device import DEVICE, start
from tests.pretrain.matrix import EACH
from tests.workspace import tiny_params, write_prepared

__all__ = ["start"]  # the fixture


@pytest.mark.parametrize(("objective", "reg"), EACH)
def test_no_step_waits_for_the_device(start, objective, reg):
    run, history = start(tiny_params(objective__name=objective, reg__name=reg), DEVICE), History([])
    run.learner.train()
    with fast_kernels():
        for step in range(4):
            loop._step(run, history, step)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for step in range(4, 7):
                loop._step(run, history, step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert history.close(step=7)["loss"] == pytest.approx(0, abs=1e4)


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
