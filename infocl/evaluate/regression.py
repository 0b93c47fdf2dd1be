"""Ridge regression whose strength is chosen without the test images, and how well it tells numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from infocl.evaluate.linear import at_edge
from infocl.evaluate.scaling import Scaling, fit_scaling


class RidgeProbe(NamedTuple):
    """A linear map of standardised features to targets, fitted on all the images that were given.

    Attributes:
        weight: (D, K), in float64.
        mean: of the targets, (K,).
        l2: the strength that was chosen.
        at_edge: a wider grid may do better.
    """

    scaling: Scaling
    weight: Tensor
    mean: Tensor
    l2: float
    validation_r2: float
    at_edge: bool

    def predict(self, features: Tensor) -> Tensor:
        """Targets (N, K) of unstandardised features (N, D)."""
        return self.scaling(features) @ self.weight + self.mean


def fit_ridge(
    features: Tensor, targets: Tensor, validation: Tensor, strengths: Sequence[float]
) -> RidgeProbe:
    """Choose the strength by R2 on validation images, then fit all images with it.

    Of equally good strengths the strongest is taken. The validation images take no part in the
    standardisation by which the strength is chosen.

    Args:
        features: unstandardised, (N, D).
        targets: float64 (N, K).
        validation: which images judge the strengths, bool (N,).
        strengths: as in `ridge_weights`, in any order.
    """
    strengths = sorted(strengths, reverse=True)
    scaling, mean = fit_scaling(features[~validation]), targets[~validation].mean(0)
    weights = ridge_weights(scaling(features[~validation]), targets[~validation] - mean, strengths)
    predicted = scaling(features[validation]) @ weights + mean
    scores = [float(r2(each, targets[validation])) for each in predicted]
    best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
    scaling, mean = fit_scaling(features), targets.mean(0)
    weight = ridge_weights(scaling(features), targets - mean, [strengths[best]])[0]
    return RidgeProbe(scaling, weight, mean, strengths[best], scores[best], at_edge(scores, best))


def ridge_weights(features: Tensor, targets: Tensor, strengths: Sequence[float]) -> Tensor:
    r"""Weights (S, D, K) that minimise the squared error with a penalty, for every strength at once.

    .. math:: \frac1N \|Y - X W\|^2 + \lambda \|W\|^2

    By the eigenvectors of the covariance, which are the same for all strengths.

    Args:
        features: centred X, (N, D).
        targets: centred Y, (N, K).
        strengths: each lambda, above 0; scikit-learn's alpha is N lambda.
    """
    values, vectors = torch.linalg.eigh(features.T @ features / len(features))
    seen = vectors.T @ (features.T @ targets / len(features))  # (D, K)
    penalties = torch.tensor(strengths, dtype=values.dtype, device=values.device)[:, None, None]
    weights: Tensor = vectors @ (seen / (values.clamp(min=0)[:, None] + penalties))
    return weights


def r2(predicted: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""The share of the targets' variance that is told; at most 1, and below 0 for worse than their mean.

    .. math:: 1 - \frac{\sum_i w_i \|y_i - \hat y_i\|^2}{\sum_i w_i \|y_i - \bar y\|^2},
        \quad \bar y = \frac{\sum_i w_i y_i}{\sum_i w_i}

    Several targets count by their variance.

    Args:
        predicted: (N, K).
        targets: (N, K).
        weights: of the images, (B, N) for B values at once; without them each counts once.

    Returns:
        (B,), or a scalar without weights.
    """
    if weights is None:
        return r2(predicted, targets, targets.new_ones(1, len(targets)))[0]
    errors = weights @ (targets - predicted).square().sum(1)
    total = weights.sum(1)
    means = weights @ targets / total[:, None]
    spread = weights @ targets.square().sum(1) - total * means.square().sum(1)
    return 1 - errors / spread
