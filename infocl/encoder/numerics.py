"""Numerical ground rules: losses in full precision, every random draw from its own seed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import numpy as np
import torch
from torch import Tensor

P = ParamSpec("P")

VARIANCE_FLOOR = 1e-5  # added to variances, so that a dimension that never varies counts as zero


def full_precision(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Run a loss outside autocast, with half-precision tensors raised to float32."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        raised = [at_least_float32(value) if isinstance(value, Tensor) else value for value in args]
        named = {k: at_least_float32(v) if isinstance(v, Tensor) else v for k, v in kwargs.items()}
        with torch.autocast(given[0].device.type, enabled=False):
            return function(*raised, **named)  # type: ignore[arg-type]

    return wrapped


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor, raised to float32 where it is of half precision."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


@full_precision
def standardised(z: Tensor) -> Tensor:
    """Columns of (N, P) with mean 0 and variance 1 over the batch, both with the divisor N.

    A column that never varies becomes zero; one of standard deviation s keeps
    s / sqrt(s^2 + 1e-5) of its unit.
    """
    return (z - z.mean(0)) / (z.var(0, correction=0) + VARIANCE_FLOOR).sqrt()


def derive_seed(seed: int, *path: int) -> int:
    """A seed of its own for every use, a pure function of its arguments.

    Drawing each batch's views and noise from a seed derived from (run seed, purpose, step) leaves no
    random state to store: a resumed run continues bit for bit from its step number alone.
    """
    return int(np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)[0] >> np.uint64(1))
