"""Images of a data set, wherever they lie: choosing rows, and going through all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from infocl.prepared.shards import ShardedRows

Images = npt.NDArray[np.uint8] | ShardedRows  # (N, H, W, 3), possibly memory-mapped, or in shards


def evenly_spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` of `count` rows, in order and evenly spread, with the first and the last.

    Sorted data sets are so sampled over all their classes.
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def in_parts(images: Images, most: int) -> Iterator[tuple[slice, npt.NDArray[np.uint8]]]:
    """All images with their rows, at most so many at a time: in order, those of shards shard by shard."""
    if isinstance(images, ShardedRows):
        yield from images.parts(most)
        return
    for start in range(0, len(images), most):
        rows = slice(start, start + most)
        yield rows, np.array(images[rows])
