"""Differences of two encoders: their intervals against naive computations and published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from infocl.evaluate.paired import independent, paired
from pipelines.differences import ExportedEncoder, of_mean, of_task
from pipelines.gate import _mean, judge
from tests.pipelines.test_gate import Z, encoder, row, rules


def wilson_limit(right, images, side):
    """The share whose score test just rejects `right` of `images`, by bisection."""
    share = right / images

    def score(limit):
        return share - limit - side * Z * math.sqrt(limit * (1 - limit) / images)

    if score(0.0 if side > 0 else 1.0) == 0:
        return 0.0 if side > 0 else 1.0
    return brentq(score, 0.0, share, xtol=1e-14) if side > 0 else brentq(score, share, 1.0, xtol=1e-14)


def newcombe(a, m, b, n):
    """Method 10 as Newcombe prints it: by the variances at the Wilson limits, not by distances to them."""
    (l1, l2), (u1, u2) = ([wilson_limit(*pair, side) for pair in ((a, m), (b, n))] for side in (1, -1))
    delta = Z * math.sqrt(l1 * (1 - l1) / m + u2 * (1 - u2) / n)
    epsilon = Z * math.sqrt(u1 * (1 - u1) / m + l2 * (1 - l2) / n)
    return a / m - b / n, a / m - b / n - delta, a / m - b / n + epsilon


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table II, method 10
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000),
    ],
)
def test_the_difference_is_newcombes_published_figure(a, m, b, n, low, high):
    found = independent(row(a, m), row(b, n))
    assert found.change == pytest.approx(a / m - b / n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_the_difference_is_that_of_a_naive_computation_by_variances():
    generator = np.random.default_rng(0)
    for _ in range(200):
        m, n = (int(value) for value in generator.integers(5, 2000, 2))
        a, b = int(generator.integers(1, m)), int(generator.integers(1, n))
        found = independent(row(a, m), row(b, n))
        assert (found.change, found.low, found.high) == pytest.approx(newcombe(a, m, b, n), abs=1e-9)


def test_the_mean_of_one_task_is_that_task_and_of_equal_tasks_is_narrower_by_the_root():
    one = row(80, 100)
    assert _mean([one]) == pytest.approx(one)
    mean, low, high = _mean([one] * 4)
    assert mean == pytest.approx(0.8)
    assert 0.8 - low == pytest.approx((0.8 - one[1]) / 2)
    assert high - 0.8 == pytest.approx((one[2] - 0.8) / 2)


@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_a_paired_interval_of_another_confidence_is_newcombes_by_its_normal_quantile(confidence):
    """Method 10 by the counts of a 2x2 table, and Wilson's limits as roots of a quadratic."""
    z, (both, one, other, neither) = norm.ppf(0.5 + confidence / 2), (60, 17, 6, 40)
    n = both + one + other + neither
    shares, arms = [(both + one) / n, (both + other) / n], []
    for share in shares:
        low, high = sorted(np.roots([1 + z * z / n, -(2 * share + z * z / n), share * share]))
        arms.append((share - low, high - share))
    phi = (both * neither - one * other - n / 2) / math.sqrt(
        (both + one) * (other + neither) * (both + other) * (one + neither)
    )
    (d1, e1), (d2, e2) = arms
    answers = np.repeat([True, True, False, False], (both, one, other, neither))
    others = np.repeat([True, False, True, False], (both, one, other, neither))
    found = paired(answers, others, confidence)
    assert found.below == pytest.approx(math.sqrt(d1**2 - 2 * phi * d1 * e2 + e2**2), abs=1e-12)
    assert found.above == pytest.approx(math.sqrt(e1**2 - 2 * phi * e1 * d2 + d2**2), abs=1e-12)


def drawn(generator, shares, images, *, together=True):
    """Answers to several targets of two encoders: errors go together between them and between targets."""
    common = generator.normal(size=images)
    if not together:
        common = generator.normal(size=(len(shares), images))
    each = generator.normal(size=(len(shares), images))
    hard = 0.6 * common + 0.6 * each
    own = generator.normal(size=(2, len(shares), images))
    effort = hard + math.sqrt(1 - 2 * 0.36) * own
    return [
        {f"t{index}": effort[side, index] < norm.ppf(pair[side]) for index, pair in enumerate(shares)}
        for side in (0, 1)
    ]


@pytest.mark.parametrize("paired_too", [True, False])
def test_the_intervals_hold_the_truth_as_often_as_they_say(paired_too):
    """On the same images, with targets that share them; and on other images, with targets that do not."""
    generator, shares = np.random.default_rng(1), [(0.9, 0.95), (0.5, 0.55), (0.75, 0.6)]
    truth, held, draws = np.mean([new - now for new, now in shares]), np.zeros(2), 600
    for _ in range(draws):
        new, now = drawn(generator, shares, 200, together=paired_too)
        if not paired_too:
            now = drawn(generator, shares, 200, together=False)[1]
        one, other = encoder(answers=new), encoder(answers=now)
        if not paired_too:
            one, other = (ExportedEncoder(side.metrics, side.parity, 1) for side in (one, other))
        mean, first = of_mean(one, other, list(new)), of_task(one, other, "t0", 0.9)
        held += mean.low <= truth <= mean.high, first.low <= -0.05 <= first.high
    assert 0.93 <= held[0] / draws <= 0.975
    assert 0.86 <= held[1] / draws <= 0.94


def test_the_same_images_tell_more_than_other_ones_and_the_table_says_which_were_used():
    new, now = drawn(np.random.default_rng(2), [(0.8, 0.8)], 500)
    same = encoder(answers=new), encoder(answers=now)
    other = same[0], encoder(t0=(int(now["t0"].sum()), 500))
    narrow, wide = of_mean(*same, ["t0"]), of_mean(*other, ["t0"])
    assert narrow.below + narrow.above < 0.85 * (wide.below + wide.above)
    for pair, words in ((same, "on the same test images"), (other, "on other test images")):
        assert all(
            words in check.rule
            for check in judge(*pair, rules()).checks
            if check.what in ("t0", "mean of 1 targets")
        )
