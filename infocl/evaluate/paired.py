"""Two classifiers on the same images: the difference of their accuracies, with an interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from infocl.evaluate.wilson import Right, wilson


class Difference(NamedTuple):
    """A difference of accuracies in -1..1, and how far its interval goes below and above it."""

    change: float
    below: float
    above: float

    @property
    def low(self) -> float:
        """The interval's low end."""
        return self.change - self.below

    @property
    def high(self) -> float:
        """The interval's high end."""
        return self.change + self.above


def paired95(first: Right, second: Right) -> tuple[float, list[float]]:
    """`paired` at 95 %: the difference, and its interval."""
    found = paired(first, second)
    return found.change, [found.low, found.high]


def paired(first: Right, second: Right, confidence: float = 0.95) -> Difference:
    r"""The accuracy of `first` minus that of `second` on the same images, and its interval.

    Newcombe's method 10: Wilson's intervals of both accuracies, put together by the correlation of the
    answers,

    .. math:: d - \sqrt{\delta_1^2 - 2 \phi \delta_1 \epsilon_2 + \epsilon_2^2} \quad
        \text{to} \quad d + \sqrt{\epsilon_1^2 - 2 \phi \epsilon_1 \delta_2 + \delta_2^2}

    with :math:`\delta_i` the distance from accuracy i down to its lower limit and :math:`\epsilon_i` up to
    its upper one. It speaks of the sampling of test images.

    Args:
        first: which images the first is right for, bool (N,).
        second: likewise, of the same images in the same order.
        confidence: of the interval, in 0..1.

    Reference: Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 1998, method 10.
    """
    images = len(first)
    counts = int(first.sum()), int(second.sum())
    (p1, low1, high1), (p2, low2, high2) = (
        (right / images, *wilson(right, images, confidence)) for right in counts
    )
    phi = correlation(first, second)
    down1, up1, down2, up2 = p1 - low1, high1 - p1, p2 - low2, high2 - p2
    below = math.sqrt(max(0.0, down1**2 - 2 * phi * down1 * up2 + up2**2))
    above = math.sqrt(max(0.0, up1**2 - 2 * phi * up1 * down2 + down2**2))
    return Difference(p1 - p2, below, above)


def independent(first: tuple[float, float, float], second: tuple[float, float, float]) -> Difference:
    """The difference of two accuracies on different images, each given as (accuracy, low, high).

    Newcombe (Statistics in Medicine 17, 1998), method 10 for independent samples: the distances to the limits
    of the single intervals add up as squares.
    """
    (p1, low1, high1), (p2, low2, high2) = first, second
    return Difference(p1 - p2, math.hypot(p1 - low1, high2 - p2), math.hypot(high1 - p1, p2 - low2))


def correlation(first: Right, second: Right) -> float:
    """Phi of the 2x2 table of answers, by Newcombe's continuity correction if positive; 0 without spread."""
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only1, only2 = int((first & ~second).sum()), int((~first & second).sum())
    spread = math.prod(float(np.sum(part)) for part in (first, ~first, second, ~second))
    if spread == 0:
        return 0.0
    excess = both * neither - only1 * only2
    return (max(0.0, excess - len(first) / 2) if excess > 0 else excess) / math.sqrt(spread)
