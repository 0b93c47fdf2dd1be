"""The kernel two-sample test, its level by permutations: whether two samples are of one distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

PERMUTATIONS = 1000
AT_ONCE = 100  # permutations in memory
Samples = npt.NDArray[Any]


def mmd_test(known: Samples, new: Samples, width: float) -> tuple[float, float]:
    """The squared maximum mean discrepancy of two samples by a Gaussian kernel, and its p-value.

    Gretton et al. (JMLR 13, 2012): equation 5, the biased estimate. The p-value is the share of arrangements
    of the pooled sample, the real one and 1,000 random ones, whose discrepancy is as large or larger. So for
    independent images of one distribution P(p <= a) is at most a, whatever the distribution and the sizes,
    as long as `width` was not chosen from these samples.

    Args:
        known: (N, K).
        new: (M, K).
        width: of the kernel exp(-|x - y|^2 / (2 width^2)), in the samples' unit.

    Returns:
        The discrepancy, 0 or more, and p in 1/1001..1.
    """
    kernel = gaussian(np.concatenate([known, new]), width)
    weights = np.full(len(kernel), 1 / len(known), np.float32)
    weights[len(known) :] = -1 / len(new)
    found = float(discrepancies(kernel, weights[None])[0])
    generator = np.random.default_rng(0)  # the same images give the same answer
    larger = 0
    for start in range(0, PERMUTATIONS, AT_ONCE):
        count = min(AT_ONCE, PERMUTATIONS - start)
        shuffled = generator.permuted(np.tile(weights, (count, 1)), axis=1)
        # Sums in another order differ in the last digits, and equal arrangements must count as equal.
        larger += int((discrepancies(kernel, shuffled) >= found - 1e-6 * abs(found)).sum())
    return max(found, 0.0), (1 + larger) / (1 + PERMUTATIONS)


def gaussian(points: Samples, width: float) -> npt.NDArray[np.float32]:
    """The kernel exp(-|x - y|^2 / (2 width^2)) of all pairs of points (N, K): (N, N)."""
    points = points.astype(np.float32)
    squares = (points**2).sum(1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    return np.asarray(np.exp(np.maximum(distances, 0) / np.float32(-2 * width**2)), np.float32)


def discrepancies(
    kernel: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """w' K w for each row w of weights (P, N) and the kernel K (N, N): (P,)."""
    return np.asarray(((weights @ kernel) * weights).sum(1))
