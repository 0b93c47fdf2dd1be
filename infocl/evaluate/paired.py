"""Two classifiers on the same images: the difference of their accuracies, with an interval."""

from __future__ import annotations

import math

import numpy as np

from infocl.evaluate.protocol import Right
from infocl.evaluate.wilson import wilson95


def paired95(first: Right, second: Right) -> tuple[float, list[float]]:
    r"""The accuracy of `first` minus that of `second` on the same images, and its 95 % interval.

    Newcombe's method 10: Wilson's intervals of both accuracies, put together by the correlation of the
    answers,

    .. math:: d - \sqrt{\delta_1^2 - 2 \phi \delta_1 \epsilon_2 + \epsilon_2^2} \quad
        \text{to} \quad d + \sqrt{\epsilon_1^2 - 2 \phi \epsilon_1 \delta_2 + \delta_2^2}

    with :math:`\delta_i` the distance from accuracy i down to its lower limit and :math:`\epsilon_i` up to
    its upper one. It speaks of the sampling of test images.

    Args:
        first: which images the first is right for, bool (N,).
        second: likewise, of the same images in the same order.

    Reference: Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 1998, method 10.
    """
    images = len(first)
    p1, p2 = float(first.mean()), float(second.mean())
    (low1, high1), (low2, high2) = wilson95(int(first.sum()), images), wilson95(int(second.sum()), images)
    phi = correlation(first, second)
    down1, up1, down2, up2 = p1 - low1, high1 - p1, p2 - low2, high2 - p2
    below = math.sqrt(max(0.0, down1**2 - 2 * phi * down1 * up2 + up2**2))
    above = math.sqrt(max(0.0, up1**2 - 2 * phi * up1 * down2 + down2**2))
    return p1 - p2, [p1 - p2 - below, p1 - p2 + above]


def correlation(first: Right, second: Right) -> float:
    """Phi of the 2x2 table of answers, by Newcombe's continuity correction if positive; 0 without spread."""
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only1, only2 = int((first & ~second).sum()), int((~first & second).sum())
    spread = math.prod(float(np.sum(part)) for part in (first, ~first, second, ~second))
    if spread == 0:
        return 0.0
    excess = both * neither - only1 * only2
    return (max(0.0, excess - len(first) / 2) if excess > 0 else excess) / math.sqrt(spread)
