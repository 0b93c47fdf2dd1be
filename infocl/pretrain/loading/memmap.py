"""Images of a memory-mapped `.npy` file."""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

from infocl.prepared.rows import Images
from infocl.pretrain.loading.prefetch import Fill
from infocl.pretrain.loading.sampler import Window


class MappedImages:
    """Rows of one memory-mapped array.

    Args:
        images: uint8 (N, H, W, 3).
        fits: whether memory holds the whole file. Where it does not, the kernel is told that access is
            random, since what it would read around each image is thrown away again.
    """

    def __init__(self, images: Images, *, fits: bool) -> None:
        self.shape: tuple[int, ...] = images.shape[1:]
        self._flat = np.asarray(images).reshape(len(images), -1)
        file: object = getattr(images, "base", None)
        if not fits and isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
            file.madvise(mmap.MADV_RANDOM)

    def plan(self, rows: npt.NDArray[np.int64], windows: tuple[Window, ...]) -> Fill:
        """What writes the images `rows` into an array (n, H, W, 3)."""

        def fill(out: npt.NDArray[np.uint8]) -> None:
            np.take(self._flat, rows, axis=0, out=out.reshape(len(rows), -1), mode="clip")

        return fill

    def close(self) -> None:
        """The map goes with the array."""
