"""Standardisation of features by the statistics of the training features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = float(torch.finfo(torch.float32).eps)


class Scaling(NamedTuple):
    """Mean and divisor of every feature, (D,) each, in float64."""

    mean: Tensor
    std: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Standardise features (N, D); float64."""
        return (features.double() - self.mean) / self.std


def fit_scaling(features: Tensor) -> Scaling:
    """The statistics that give features (N, D) mean 0 and standard deviation 1.

    A constant feature is only centred: its divisor is 1. Dividing by N, not N - 1.
    """
    std, mean = torch.std_mean(features.double(), dim=0, correction=0)
    constant = std <= rounding_noise(mean)
    return Scaling(mean, torch.where(constant, 1.0, std))


def rounding_noise(mean: Tensor) -> Tensor:
    """The spread (D,) at or below which float32 features of this mean are constant."""
    return ROUNDING * mean.abs()
