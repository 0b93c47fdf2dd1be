"""Writing images chunk by chunk: array, hash and statistics, in memory that their number does not change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

import numpy as np

from infocl.data.raw import Images, ImageSource
from infocl.runtime.files import replacing
from infocl.runtime.progress import StepProgress

CHUNK_BYTES = 16 << 20  # of pixels held at a time
CHUNK_IMAGES = 4096  # at most
CHUNKS_AT_ONCE = 3  # fewer than so many chunks take no time worth a progress bar
LINES = 10  # of progress, where there is no terminal
LEAST_STD = 1 / 255  # a channel that never varies is left at its scale instead of divided by zero


def chunk_images(size: int) -> int:
    """How many images of `size` px are held at a time."""
    return max(1, min(CHUNK_IMAGES, CHUNK_BYTES // (3 * size * size)))


def stream_images(
    images: ImageSource, size: int, file: Path | None, see: Callable[[Images], None] | None = None
) -> str:
    """Write images as `.npy`, atomically, and hash them on the way.

    Args:
        images: N images of `size` px.
        size: height and width in px.
        file: to write; None only hashes.
        see: is shown each chunk.

    Returns:
        What `sha256_array` would give of the whole array.

    Raises:
        UserError: an image cannot be read; what `file` held before stays.
    """
    shape, dtype = (len(images), size, size, 3), np.dtype(np.uint8)
    digest = sha256(f"{shape}{dtype.str}".encode())
    step = chunk_images(size)
    with _target(file) as stream:
        if stream:
            header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
        for start in _with_progress(range(0, len(images), step), len(images)):
            chunk = np.ascontiguousarray(images[start : start + step])
            digest.update(chunk.data)
            if stream:
                stream.write(chunk.data)
            if see:
                see(chunk)
    return digest.hexdigest()


def _with_progress(starts: range, images: int) -> Iterator[int]:
    """The starts of the chunks; a progress bar shows them unless they are done at once."""
    if len(starts) < CHUNKS_AT_ONCE:
        yield from starts
        return
    every = max(1, len(starts) // LINES)
    with StepProgress("writing images", len(starts), done=0, line_every=every) as progress:
        for start in starts:
            yield start
            progress.advance()
            progress.figures(f"{min(start + starts.step, images):,} of {images:,} images")


@contextmanager
def _target(file: Path | None) -> Iterator[IO[bytes] | None]:
    if file is None:
        yield None
        return
    with replacing(file) as temporary, temporary.open("wb") as stream:
        yield stream


class ChannelStatistics:
    """Mean and standard deviation of each channel over all pixels, in [0, 1], whatever the chunks are."""

    def __init__(self) -> None:
        self._histograms = np.zeros((3, 256), np.int64)

    def add(self, images: Images) -> None:
        """Count in images, uint8 (N, H, W, 3)."""
        for channel, histogram in enumerate(self._histograms):
            histogram += np.bincount(images[..., channel].ravel(), minlength=256)

    def result(self) -> dict[str, list[float]]:
        """`mean` and `std`: three each; the deviations are at least `LEAST_STD`."""
        levels, count = np.arange(256) / 255, self._histograms[0].sum()
        mean = self._histograms @ levels / count
        spread = self._histograms @ levels**2 / count - mean**2
        std = np.sqrt(np.maximum(spread, LEAST_STD**2))
        return {name: [round(float(v), 8) for v in values] for name, values in (("mean", mean), ("std", std))}
