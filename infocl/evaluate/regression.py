"""Linear probe of numbers: ridge regression whose strength is chosen without the test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from infocl.config import ProbeParams
from infocl.evaluate.bootstrap import Array, r2_score
from infocl.evaluate.linear import at_edge
from infocl.evaluate.scaling import Scaling, fit_scaling


class RidgeProbe(NamedTuple):
    """A ridge regression of standardised features: weight (D,), bias, and how its strength was chosen."""

    scaling: Scaling
    weight: Tensor
    bias: Tensor
    l2: float
    validation_r2: float
    at_edge: bool

    def predict(self, features: Tensor) -> Array:
        """The numbers (N,) of unstandardised features (N, D)."""
        numbers: Array = (self.scaling(features) @ self.weight + self.bias).cpu().numpy()
        return numbers


def ridge_weights(features: Tensor, numbers: Tensor, strengths: Sequence[float]) -> Tensor:
    r"""The minima, one for each strength, of

    .. math:: \frac1{2N} \sum_i (w \cdot x_i + \bar y - y_i)^2 + \frac{\lambda}{2} \|w\|^2

    Args:
        features: x, centred, float64 (N, D).
        numbers: y, float64 (N,).
        strengths: lambda, above 0; scikit-learn's alpha is N lambda.

    Returns:
        (number of strengths, D).
    """
    covariance = features.T @ features / len(features)
    values, vectors = torch.linalg.eigh(covariance)
    turned = vectors.T @ (features.T @ (numbers - numbers.mean())) / len(features)
    ridges = torch.tensor(strengths, dtype=features.dtype, device=features.device)
    weights: Tensor = (turned / (values.clamp(min=0) + ridges[:, None])) @ vectors.T
    return weights


def fit_ridge(features: Tensor, numbers: Array, params: ProbeParams, seed: int) -> RidgeProbe:
    """Choose the strength by R² on a random validation split, then fit all the training data with it.

    Args:
        features: unstandardised, (N, D).
        numbers: (N,).
        params: the grid and the validation share.
        seed: of the split.
    """
    targets = torch.from_numpy(numbers).to(features.device)
    fit_rows, validation_rows = train_test_split(
        np.arange(len(numbers)), test_size=params.validation_share, random_state=seed
    )
    scaling = fit_scaling(features[fit_rows])
    strengths = sorted(params.l2, reverse=True)
    weights = ridge_weights(scaling(features[fit_rows]), targets[fit_rows], strengths)
    found = scaling(features[validation_rows]) @ weights.T + targets[fit_rows].mean()
    alike = np.ones((1, len(validation_rows)))
    scores = [float(r2_score(numbers[validation_rows], one, alike)[0]) for one in found.T.cpu().numpy()]
    best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
    scaling = fit_scaling(features)
    [weight] = ridge_weights(scaling(features), targets, [strengths[best]])
    return RidgeProbe(scaling, weight, targets.mean(), strengths[best], scores[best], at_edge(scores, best))
