"""Means over seeds and their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean over `seeds` seeds and half the width of its 95 % interval; None from a single seed."""

    mean: float
    half_width: float | None
    seeds: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean of values (n,) with Student's interval, mean +- t(0.975, n - 1) s / sqrt(n); None of none."""
    count = len(values)
    if count == 0:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, 1)
    spread = float(np.std(values, ddof=1, mean=mean))
    half = float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * spread / math.sqrt(count)
    return Estimate(mean, half, count)


def in_percent(found: Estimate | None, form: str = ".1f") -> str:
    """Such as "81.4 ± 1.2", or "+64.0 ± 11.2" by the form "+.1f"; "-" where there is none."""
    if found is None:
        return "-"
    half = "" if found.half_width is None else f" ± {100 * found.half_width:.1f}"
    return f"{100 * found.mean:{form}}{half}"


def paired_difference(of: Mapping[int, float], to: Mapping[int, float]) -> Estimate | None:
    """Mean of `of[seed] - to[seed]` over the seeds that both have, with its interval; None without any."""
    return estimate([of[seed] - to[seed] for seed in sorted(of.keys() & to.keys())])
