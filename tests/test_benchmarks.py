"""Benchmarks on a GPU: what they need, what they say without one, and what they begin with."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from benchmarks import bare, gpu
from tests.workspace import ROOT, tiny_params


def test_what_a_machine_without_network_is_brought_is_pinned():
    lock = (ROOT / "requirements.lock").read_text()
    assert all(re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE) for name in bare.CARRIED)


def test_without_a_gpu_its_benchmarks_say_so_in_one_line():
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.bare", "run"],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("infocl: torch finds no GPU here; `make gpu DRY=1` plays")
    assert found.stderr.count("\n") == 1


def test_the_gpu_benchmarks_begin_with_the_setting_of_most_interest():
    first, *others = gpu.settings(dry=False)
    assert str(first) == "resnet18, 32 px, batch 512, simclr + lbe, graphed"
    assert len(others) == len(set(others)) == 4 * 2 * 3 * 4 - 1
    late = gpu.measured(tiny_params(), [first], until=0)
    assert [row.cells()[:2] for row in late] == [(str(first), "not measured: no time left")]
