"""How far embeddings are from those of another engine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from infocl.evaluate.stored import Features

LEAST_NORM = 1e-30  # keeps a pair of zero embeddings from dividing 0 by 0
TIE = 1e-6  # of a row's range of cosines: as near as makes no difference, such as copies of an image


def compare(found: Features, expected: Features) -> tuple[float, float, float]:
    """Largest absolute error, relative L2 error of a row and 1 - cosine of a row, of (N, D) each.

    NaN where an embedding of `found` has one.
    """
    a, b = found.astype(np.float64), expected.astype(np.float64)
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    relative = relative_errors(found, expected)
    both = norm_a * norm_b
    cosine = np.where(both == 0, norm_a == norm_b, (a * b).sum(axis=1) / np.maximum(both, LEAST_NORM))
    distance = np.maximum(1 - cosine, 0)  # rounding may raise a cosine above 1
    return float(np.abs(a - b).max()), float(relative.max()), float(distance.max())


def relative_errors(found: Features, expected: Features) -> npt.NDArray[np.float64]:
    """The L2 distance of each row (N) of two (N, D), divided by the norm of the expected one."""
    truth = expected.astype(np.float64)
    distance = np.linalg.norm(found.astype(np.float64) - truth, axis=1)
    return np.asarray(distance / np.maximum(np.linalg.norm(truth, axis=1), LEAST_NORM))


def neighbour_agreement(found: Features, expected: Features) -> float:
    """Share of images whose nearest other image by `found` is also the nearest by `expected`.

    Ties by `expected` count as agreement. Embeddings that differ less between images than the engines
    differ from each other are found out here, however small the relative error is.

    Args:
        found: (N, D).
        expected: (N, D) of the same images.

    Returns:
        From 0 to 1; 1 for fewer than three images, which have no choice of neighbours.
    """
    if len(expected) < 3:
        return 1.0
    chosen, truth = _cosines(found).argmax(axis=1), _cosines(expected)
    finite = np.where(np.isfinite(truth), truth, np.inf)
    slack = TIE * (truth.max(axis=1) - finite.min(axis=1))
    return float((truth[np.arange(len(truth)), chosen] >= truth.max(axis=1) - slack).mean())


def _cosines(features: Features) -> npt.NDArray[np.float64]:
    """Cosines of all pairs (N, N), minus infinity of an image with itself."""
    rows = features.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST_NORM)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines
