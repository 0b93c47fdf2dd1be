"""The cost table covers every part, and every part can be measured."""

from __future__ import annotations

import pytest

from benchmarks import cases
from benchmarks.measure import interleaved
from benchmarks.parts import PLAIN, PartRow, Setting, _step, part_table, parts
from infocl.pretrain.objectives import OBJECTIVES
from infocl.pretrain.regularizers import REGULARIZERS
from tests.workspace import tiny_params


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


def test_an_update_by_lars_is_measured_beside_one_by_sgd():
    (row,) = cases.optimizer(tiny_params())
    assert row.ours.startswith("LARS ")
    assert row.alternative.startswith("SGD ")
    assert row.ratio > 0
