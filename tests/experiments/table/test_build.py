"""Rows of the table: pairing, grouping, and an order that does not depend on the input's."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from infocl.experiments.table.published import read_published
from infocl.experiments.table.show import as_markdown
from tests.experiments.table.shown import TARGETS, experiment, runs_of, sections


def test_rows_hold_means_and_paired_differences():
    (section,) = sections(
        *runs_of("none", [0.50, 0.60, 0.70]), *runs_of("rc", [0.55, 0.66, 0.77]), *runs_of("lbe", [0.5, 0.6])
    )
    plain, rc, lbe = section.rows
    assert [row.label for row in section.rows] == ["SimCLR", "SimCLR + RC (λ = 1)", "SimCLR + LBE (λ = 1)"]
    assert section.targets == TARGETS
    assert plain.mean.mean == pytest.approx(0.6)
    assert plain.accuracy["hue"].mean == pytest.approx(0.5)
    assert plain.accuracy["digits"].mean == pytest.approx(0.7)
    assert plain.to_plain is None
    assert plain.to_noise is None
    assert rc.to_plain.mean == pytest.approx(0.06)
    assert rc.to_plain.half_width == pytest.approx(stats.t.ppf(0.975, 2) * 0.01 / math.sqrt(3))
    assert rc.to_plain.half_width < rc.mean.half_width / 5, "seeds are paired"
    assert (lbe.to_plain.mean, lbe.to_plain.seeds) == (pytest.approx(0), 2)
    assert rc.to_noise is None
    assert not section.settings


def test_noise_is_a_second_control():
    noise = {"reg__noise": {"sigma": 0.1}}
    (section,) = sections(
        *runs_of("none", [0.5, 0.5]), *runs_of("noise", [0.6, 0.5], **noise), *runs_of("rc", [0.8, 0.7])
    )
    rows = {row.regularizer: row for row in section.rows}
    assert rows["rc"].to_noise.mean == pytest.approx(0.2)
    assert rows["rc"].to_plain.mean == pytest.approx(0.25)
    assert rows["noise"].to_plain.mean == pytest.approx(0.05)
    assert rows["noise"].to_noise is None
    assert rows["noise"].label == "SimCLR + noise only"
    assert "to noise" in as_markdown(section)
    (section,) = sections(
        *runs_of("noise", [0.6], **noise),
        *runs_of("noise", [0.5], reg__noise={"sigma": 0.2}),
        *runs_of("rc", [0.8]),
    )
    assert all(row.to_noise is None for row in section.rows), "which noise would be arbitrary"


def test_only_equal_settings_are_compared():
    (section,) = sections(
        *runs_of("none", [0.5, 0.6]),
        *runs_of("rc", [0.9, 0.9], train__epochs=80),
        *runs_of("lbe", [0.7, 0.8], train__epochs=46.0, train__device="cuda", export__opset=19),
    )
    rows = {row.regularizer: row for row in section.rows}
    assert rows["rc"].to_plain is None
    assert rows["lbe"].to_plain.mean == pytest.approx(0.2)
    assert section.settings == {"A": {"train.epochs": "46"}, "B": {"train.epochs": "80"}}
    assert (rows["none"].setting, rows["lbe"].setting, rows["rc"].setting) == ("A", "A", "B")
    assert "| setting |" in as_markdown(section)


@pytest.mark.parametrize(
    "change",
    [
        {"views__flip_p": 0.1},
        {"encoder__width": 0.5},
        {"data__scenes__seed": 3},
        {"train__batch_size": 64},
        {"probe__knn_k": 7},
        {"objective__simclr__temperature": 0.1},
    ],
)
def test_whatever_shapes_a_figure_keeps_runs_apart(change):
    (section,) = sections(*runs_of("none", [0.5]), *runs_of("rc", [0.6], **change))
    assert all(row.to_plain is None for row in section.rows)


def test_knobs_of_other_methods_do_not_matter():
    (section,) = sections(
        *runs_of("none", [0.5], reg__lbe__sigma=3.0, reg__weight=9.0),
        experiment((0.6, 0.6), reg__name="none", seed=1),
    )
    (row,) = section.rows
    assert row.mean.seeds == 2


def test_knobs_of_other_optimisers_do_not_matter():
    before_there_was_lars = {"name": "adam", "lr": 0.001, "weight_decay": 0.0, "momentum": 0.0}
    (section,) = sections(
        *runs_of("none", [0.5]),
        *runs_of("rc", [0.6], train__optimizer=before_there_was_lars),
        *runs_of("lbe", [0.6], train__optimizer__trust_coefficient=0.1),
    )
    assert not section.settings
    lars = {"train__optimizer__name": "lars"}
    (section,) = sections(
        *runs_of("none", [0.5], **lars), *runs_of("rc", [0.6], **lars, train__optimizer__momentum=0.1)
    )
    assert section.settings == {
        "A": {"train.optimizer.momentum": "0.1"},
        "B": {"train.optimizer.momentum": "0.9"},
    }


def test_rows_that_would_read_alike_name_their_knobs():
    (section,) = sections(*runs_of("lbe", [0.5]), *runs_of("lbe", [0.6], reg__lbe__views="per_view"))
    assert [row.label for row in section.rows] == [
        "SimCLR + LBE (λ = 1), reg.lbe.views joint",
        "SimCLR + LBE (λ = 1), reg.lbe.views per_view",
    ]


def test_weights_are_rows_of_their_own():
    (section,) = sections(*runs_of("rc", [0.6], reg__weight=1), *runs_of("rc", [0.5], reg__weight=0.1))
    assert [row.weight for row in section.rows] == [0.1, 1]


def test_the_later_of_two_equal_runs_counts():
    old = experiment((0.1, 0.1), time="2026-01-01T10:00:00")
    new = experiment((0.3, 0.3), time="2026-01-02T09:00:00")
    (section,) = sections(new, old)
    assert section.rows[0].mean == pytest.approx((0.3, None, 1))
    assert section.repeated == 1


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_the_order_of_experiments_does_not_matter(shuffler: random.Random):
    rows = [
        *runs_of("none", [0.50, 0.60, 0.70]),
        *runs_of("rc", [0.55, 0.66, 0.77]),
        *runs_of("rc", [0.5, 0.6], reg__weight=0.1),
        *runs_of("lbe", [0.5], train__epochs=2),
        experiment((0.4, 0.4), data__name="cifar10"),
        experiment((0.1, 0.1), time="2026-01-01T00:00:00", rev="f" * 40, seed=9),
        experiment((0.2, 0.2), time="2026-01-01T00:00:00", rev="e" * 40, seed=9),
    ]
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    paper = read_published("cifar10")
    assert sections(*shuffled, published=paper) == sections(*rows, published=paper)


def test_data_without_labels_have_no_source_accuracy():
    (section,) = sections(experiment((0.5, 0.5), source=None))
    assert "source" not in section.rows[0].accuracy
    assert "| 1 | - | 50.0 |" in as_markdown(section)
