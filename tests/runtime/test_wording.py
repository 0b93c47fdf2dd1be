"""Words for people, with their units."""

from __future__ import annotations

import pytest

from infocl.config.titles import method
from infocl.data.embedded import describe_task
from infocl.export.model_card import limits
from infocl.pretrain.objectives import OBJECTIVES, objective_class
from infocl.pretrain.regularizers import REGULARIZERS, regularizer_class
from infocl.results.reading import TaskResult
from infocl.runtime.text import counted, file_size, interval, percent
from tests.tiny_run import task


@pytest.mark.parametrize(
    ("size", "message"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2_811_347, "2.8 MB"), (1_500_000_000, "1.5 GB")],
)
def test_file_sizes(size, message):
    assert file_size(size) == message


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("simclr", "lbe", 1.0), "SimCLR + LBE (λ = 1)"),
        (("simclr", "rc", 0.05), "SimCLR + RC (λ = 0.05)"),
        (("simclr", "none", 1.0), "SimCLR without regulariser"),
        (("simclr", "noise", 1.0), "SimCLR + noise only"),
        (("simclr", "mib", 0.001), "SimCLR + MIB (λ = 0.001)"),
        (("simclr", "lbe", 0.0), "SimCLR + LBE (λ = 0)"),
        (("new", "newer", 2.0), "new + newer (λ = 2)"),
    ],
)
def test_methods(parts, message):
    assert method(*parts) == message


@pytest.mark.parametrize(
    ("plug_ins", "class_of"), [(OBJECTIVES, objective_class), (REGULARIZERS, regularizer_class)]
)
def test_every_plug_in_has_its_file_and_a_title_of_its_own(plug_ins, class_of):
    assert len({class_of(name) for name in plug_ins}) == len(plug_ins)
    assert len({block.title for block in plug_ins.values()}) == len(plug_ins)


def test_shares_and_counts():
    assert percent(0.8146) == "81.5 %"
    assert interval((0.7935, 0.83288)) == "79.3 to 83.3 %"
    assert (counted(1, "target"), counted(1500, "image")) == ("1 target", "1,500 images")


@pytest.mark.parametrize("embedded", [0, 1, 2])
def test_the_embedded_data_are_no_finding_about_natural_images(embedded):
    """Said once, however many tasks are on such data."""
    rows = [task(0.5), *(task(0.5) | describe_task("digits") for _ in range(embedded))]
    message = limits(TaskResult.model_validate(row) for row in rows)
    assert sum("no finding about natural images" in line for line in message) == min(embedded, 1)
    assert any("one seed" in line for line in message)
