"""The cost table covers every part, and every part can be measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from benchmarks import bare, gpu
from benchmarks.measure import interleaved
from benchmarks.parts import PLAIN, PartRow, Setting, _step, part_table, parts
from infocl.pretrain.objectives import OBJECTIVES
from infocl.pretrain.regularizers import REGULARIZERS
from tests.workspace import ROOT, tiny_params


def test_every_objective_and_regulariser_is_a_part():
    chosen = [pair for pair in parts().values() if pair]
    assert {objective for objective, regularizer in chosen if regularizer == "none"} == set(OBJECTIVES)
    assert {regularizer for objective, regularizer in chosen if objective == "simclr"} == set(REGULARIZERS)


@pytest.mark.parametrize("part", parts())
def test_every_part_takes_a_step(part):
    step = _step(Setting(tiny_params(), 8), part)
    timing = interleaved({part: step}, repeats=1, warm_up=0)[part]
    assert 0 < timing.fastest <= timing.median <= timing.slowest


def test_ratios_are_printed_beside_the_plain_encoder():
    row = PartRow("here", PLAIN, "1.0 ms", 1.0, 20.4, 1.5)
    assert part_table([row])[-1] == "| here | plain encoder | 1.0 ms | 1.00 | 20 MiB | 1.50 |"


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
