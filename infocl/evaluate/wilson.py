"""Intervals of accuracies, without torch: of one classifier."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Right = npt.NDArray[np.bool_]


def wilson95(right: int, images: int) -> list[float]:
    """Wilson's 95 % interval [low, high] of an accuracy (Wilson 1927)."""
    return list(wilson(right, images))


@lru_cache(maxsize=1 << 16)
def wilson(right: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval (low, high) of an accuracy (Wilson 1927), at a confidence in 0..1."""
    interval = binomtest(right, images).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)
