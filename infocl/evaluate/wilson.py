"""The interval of an accuracy."""

from __future__ import annotations

from scipy.stats import binomtest


def wilson95(right: int, images: int) -> list[float]:
    """Wilson's 95 % interval [low, high] of an accuracy (Wilson 1927)."""
    interval = binomtest(right, images).proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]
