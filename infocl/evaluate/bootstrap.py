"""Scores of tasks that are not right or wrong, and their intervals by resampling test images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
RESAMPLES = 1000
SEED = 0  # the intervals of one set of answers are the same on every run
ENTRIES = 1 << 22  # of the weights held at a time: 32 MiB


def resample_weights(images: int) -> Iterator[Array]:
    """How often each image is drawn in each of 1,000 samples with replacement, in chunks (b, N)."""
    generator = np.random.default_rng(SEED)
    rows = max(1, ENTRIES // images)
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        drawn = generator.integers(0, images, (count, images))
        places = drawn + images * np.arange(count)[:, None]
        yield np.bincount(places.ravel(), minlength=count * images).reshape(count, images).astype(np.float64)


def bootstrap95(images: int, score: Callable[[Array], Array]) -> list[float]:
    """The 95 % interval [low, high] of a score, by the percentiles of 1,000 samples of the images.

    Args:
        images: N.
        score: takes weights (b, N) and gives scores (b,); NaN where a sample gives none.

    Reference: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979.
    """
    scores = np.concatenate([score(weights) for weights in resample_weights(images)])
    low, high = np.nanquantile(scores, (0.025, 0.975))
    return [float(low), float(high)]


def r2_score(truth: Array, predicted: Array, weights: Array) -> Array:
    r"""The share of the variance that predictions explain, by weights (b, N) of the images.

    .. math:: R^2 = 1 - \frac{\sum_i w_i (y_i - \hat y_i)^2}{\sum_i w_i (y_i - \bar y)^2}

    Args:
        truth: y, (N,).
        predicted: (N,).
        weights: (b, N).

    Returns:
        (b,), at most 1; below 0 where the mean would predict better; NaN where the numbers do not vary.
    """
    total = weights.sum(axis=1)
    centred = truth - truth.mean()  # so that no digits are lost in the squares
    spread = weights @ centred**2 - (weights @ centred) ** 2 / total
    missed = weights @ (truth - predicted) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        scores: Array = np.where(spread > 0, 1 - missed / spread, np.nan)
    return scores


def rmse(truth: Array, predicted: Array, weights: Array) -> Array:
    """Root of the mean squared error, in the unit of the numbers; arguments as in `r2_score`."""
    errors: Array = np.sqrt(weights @ (truth - predicted) ** 2 / weights.sum(axis=1))
    return errors


def average_precision(truth: npt.NDArray[np.int64], scores: Array, weights: Array) -> Array:
    r"""The average precision of one label, by weights (b, N) of the images.

    .. math:: \sum_n (R_n - R_{n-1}) P_n

    over the distinct scores, from the highest, with precision P and recall R of the images at or above.

    Args:
        truth: 1 where an image has the label, (N,).
        scores: higher where it is thought to have it, (N,).
        weights: (b, N).

    Returns:
        (b,) in 0..1; NaN where no image of a sample has the label.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, present = scores[order], truth[order].astype(np.float64)
    last = np.searchsorted(-ranked, -ranked, side="right") - 1  # of each group of equal scores
    weights = weights[:, order]
    hits, seen = (weights * present).cumsum(axis=1), weights.cumsum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(seen > 0, hits / seen, 0.0)[:, last]
        found: Array = (weights * present * precision).sum(axis=1) / hits[:, -1]
    return found


def label_precisions(truth: npt.NDArray[np.int64], scores: Array, weights: Array) -> Array:
    """`average_precision` of each of C labels, (b, C); `truth` and `scores` are (N, C)."""
    columns = [
        average_precision(truth[:, label], scores[:, label], weights) for label in range(truth.shape[1])
    ]
    return np.stack(columns, axis=1)


def mean_average_precision(truth: npt.NDArray[np.int64], scores: Array, weights: Array) -> Array:
    """The mean over the labels that a sample has, (b,); arguments as in `label_precisions`."""
    found = label_precisions(truth, scores, weights)
    with np.errstate(invalid="ignore"):
        means: Array = np.nansum(found, axis=1) / (~np.isnan(found)).sum(axis=1)
    return means
