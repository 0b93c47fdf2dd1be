"""Standardisation of features by the statistics of the training features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = float(torch.finfo(torch.float32).eps)
ENTRIES = 1 << 24  # features that are float64 at once: 128 MiB


class Scaling(NamedTuple):
    """Mean and divisor of every feature, (D,) each, in float64."""

    mean: Tensor
    std: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Standardise features (N, D); float64."""
        return (features.double() - self.mean) / self.std

    def single(self, features: Tensor) -> Tensor:
        """The same in float32, without all of them in float64 at once."""
        scaled = torch.empty_like(features, dtype=torch.float32)
        for rows, out in zip(chunks(features), chunks(scaled), strict=True):
            out.copy_(self(rows))
        return scaled


def fit_scaling(features: Tensor) -> Scaling:
    """The statistics that give features (N, D) mean 0 and standard deviation 1.

    A constant feature is only centred: its divisor is 1. Dividing by N, not N - 1.
    """
    if features.numel() <= ENTRIES:
        std, mean = torch.std_mean(features.double(), dim=0, correction=0)
    else:
        mean = _mean_of(rows.double() for rows in chunks(features))
        std = _mean_of((rows.double() - mean).square() for rows in chunks(features)).sqrt()
    constant = std <= rounding_noise(mean)
    return Scaling(mean, torch.where(constant, 1.0, std))


def chunks(features: Tensor) -> tuple[Tensor, ...]:
    """Features (N, D) in parts of at most `ENTRIES` numbers, or of a row."""
    return torch.split(features, max(1, ENTRIES // features.shape[1]))


def _mean_of(parts: Iterable[Tensor]) -> Tensor:
    """The mean row (D,) of all parts (n, D)."""
    count, total = 0, torch.zeros(())
    for part in parts:
        total = total.to(part) + part.sum(dim=0)
        count += len(part)
    return total / count


def rounding_noise(mean: Tensor) -> Tensor:
    """The spread (D,) at or below which float32 features of this mean are constant."""
    return ROUNDING * mean.abs()
