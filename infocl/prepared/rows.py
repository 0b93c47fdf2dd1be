"""Choosing rows of a data set."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def evenly_spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` of `count` rows, in order and evenly spread, with the first and the last.

    Sorted data sets are so sampled over all their classes.
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
