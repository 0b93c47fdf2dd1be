"""Means over seeds and their intervals, against naive computations and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from infocl.experiments.table.stats import estimate, paired_difference

ACCURACIES = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@given(ACCURACIES)
def test_intervals_are_students(values):
    found = estimate(values)
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=np.mean(values), scale=max(stats.sem(values), 1e-300)
    )
    assert found.seeds == len(values)
    assert found.mean == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert found.half_width == pytest.approx((high - low) / 2, abs=1e-9)


def test_the_interval_of_two_in_closed_form():
    """With one degree of freedom t is Cauchy: its 97.5 % point is tan(0.475 pi)."""
    found = estimate([0.2, 0.6])
    assert found.mean == pytest.approx(0.4)
    assert found.half_width == pytest.approx(math.tan(0.475 * math.pi) * 0.4 / 2)


def test_one_seed_has_no_interval_and_none_no_estimate():
    assert estimate([0.3]) == (0.3, None, 1)
    assert estimate([]) is None
    assert paired_difference({0: 0.1}, {1: 0.1}) is None


@given(
    st.dictionaries(st.integers(0, 9), st.floats(0, 1)), st.dictionaries(st.integers(0, 9), st.floats(0, 1))
)
def test_differences_are_paired_over_common_seeds(first, second):
    common = [seed for seed in range(10) if seed in first and seed in second]
    found = paired_difference(first, second)
    if not common:
        assert found is None
        return
    naive = [first[seed] - second[seed] for seed in common]
    assert found.mean == pytest.approx(sum(naive) / len(naive), abs=1e-12)
    assert found.seeds == len(common)
    if len(common) > 1:
        mean = sum(naive) / len(naive)
        variance = sum((value - mean) ** 2 for value in naive) / (len(naive) - 1)
        half = stats.t.ppf(0.975, len(naive) - 1) * math.sqrt(variance / len(naive))
        assert found.half_width == pytest.approx(half, abs=1e-9)
