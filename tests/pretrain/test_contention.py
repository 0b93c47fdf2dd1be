"""Beside busy programs a run says once what slows it down; one of a single thread has nothing to wait for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch

from infocl.pretrain import contention, loop
from infocl.pretrain import training as stage
from infocl.runtime.paths import PREPARED
from tests.workspace import tiny_params, write_prepared

PATIENCE = 300.0  # seconds


class StoppedError(BaseException):
    """Ends a run from outside."""


@contextmanager
def busy_programs():
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


@pytest.mark.parametrize("threads", [2, 1])
def test_crowded_threads_are_noticed_while_training(tmp_path, monkeypatch, capsys, threads):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(contention, "SECONDS", 1.0)
    write_prepared(PREPARED, size=16)
    start, before, step, lines = time.monotonic(), torch.get_num_threads(), loop._step, []

    def until_said(run, history, number):
        lines.extend(line for line in capsys.readouterr().err.splitlines() if "Other programs" in line)
        if lines or time.monotonic() - start > (PATIENCE if threads > 1 else 3):
            raise StoppedError
        step(run, history, number)

    monkeypatch.setattr(loop, "_step", until_said)
    params = tiny_params(
        data__image_size=16, encoder__width=0.0625, train__batch_size=8, train__epochs=1000, reg__name="none"
    )
    torch.set_num_threads(threads)
    try:
        with busy_programs(), pytest.raises(StoppedError):
            stage.pretrain(params)
    finally:
        torch.set_num_threads(before)
    assert len(lines) == (threads > 1)
    for line in lines:
        assert "the 2 threads of this run wait for each other" in line
        assert "a run with OMP_NUM_THREADS=1 may be faster" in line
