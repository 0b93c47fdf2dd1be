"""The difference of two accuracies on the same images: published limits, an oracle, exact coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from infocl.evaluate.paired import paired95

Z = 1.959963984540054


def answers(both, first, second, neither):
    """Answers of two classifiers: so many images right for both, for one alone, and for neither."""
    counts = both, first, second, neither
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def wilson(right, images):
    p = right / images
    center, half = p + Z**2 / 2 / images, Z * math.sqrt(p * (1 - p) / images + Z**2 / 4 / images**2)
    return (center - half) / (1 + Z**2 / images), (center + half) / (1 + Z**2 / images)


def newcombe(a, b, c, d):
    """Newcombe 1998, method 10, written down from the counts of his 2x2 table."""
    n = a + b + c + d
    p1, p2 = (a + b) / n, (a + c) / n
    (l1, u1), (l2, u2) = wilson(a + b, n), wilson(a + c, n)
    denominator = math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    numerator = max(a * d - b * c - n / 2, 0) if a * d > b * c else a * d - b * c
    phi = numerator / denominator if denominator else 0.0
    below = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    above = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    return p1 - p2, p1 - p2 - math.sqrt(below), p1 - p2 + math.sqrt(above)


def test_published_limits():
    """Airway hyper-responsiveness before and after a transplantation, in Fagerland et al. 2014."""
    difference, interval = paired95(*answers(1, 1, 7, 12))
    assert difference == pytest.approx(-6 / 21)
    assert interval == pytest.approx([-0.507, -0.026], abs=5e-4)


@pytest.mark.parametrize(
    "table",
    [
        (50, 12, 3, 35),
        (5, 20, 18, 7),
        (0, 9, 9, 0),
        (30, 0, 0, 20),
        (40, 0, 0, 0),
        (0, 12, 0, 0),
        (700, 90, 60, 650),
    ],
)
def test_it_is_newcombes_method_10(table):
    difference, (low, high) = paired95(*answers(*table))
    assert (difference, low, high) == pytest.approx(newcombe(*table), abs=1e-12)
    turned, (turned_low, turned_high) = paired95(*reversed(answers(*table)))
    assert (turned, turned_low, turned_high) == pytest.approx((-difference, -high, -low), abs=1e-12)
    assert -1 <= low <= difference <= high <= 1


def test_answers_that_agree_make_it_narrower():
    """The same two accuracies, once on the same images and once on different ones."""
    agreeing, crossing = paired95(*answers(60, 10, 0, 30))[1], paired95(*answers(42, 28, 18, 12))[1]
    assert agreeing[1] - agreeing[0] < 0.7 * (crossing[1] - crossing[0])


@pytest.mark.parametrize("shares", [(0.5, 0.15, 0.05, 0.3), (0.3, 0.2, 0.2, 0.3), (0.8, 0.1, 0.02, 0.08)])
def test_it_covers_the_truth_as_often_as_it_promises(shares):
    """All tables of 12 images, each with its multinomial probability."""
    n, truth, covered = 12, shares[1] - shares[2], 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            for c in range(n + 1 - a - b):
                table = a, b, c, n - a - b - c
                _, (low, high) = paired95(*answers(*table))
                ways = math.factorial(n) / math.prod(math.factorial(count) for count in table)
                probable = ways * math.prod(s**count for s, count in zip(shares, table, strict=True))
                covered += probable * (low <= truth <= high)
    assert 0.93 < covered < 0.999  # answers are counts, so the promise is kept on average
