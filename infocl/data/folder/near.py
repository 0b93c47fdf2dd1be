"""Near-duplicates across splits: test images of which training has a re-encoded or rescaled copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infocl.data.folder.survey import Survey
from infocl.data.raw import Images, ImageSource
from infocl.data.stream import chunk_images
from infocl.runtime.files import write_csv

ROWS, COLUMNS = 16, 17  # of the small grey picture whose differences along its rows are the hash
MOST_BITS = 64  # of 256 that may differ; smooth images lose that many when saved at JPEG quality 75
MOST_LEVELS = 4.0  # mean absolute difference of the prepared pixels, in grey levels of 255
PAIRS = 1 << 22  # compared at a time
MOST_PAIRS = 2 * 10**10  # compared in all, some minutes; of more test images an even part is looked at

Hashes = npt.NDArray[np.uint64]


class NearPair(NamedTuple):
    """A test image and the training image that it nearly equals, by their places, and how they differ."""

    test: int
    train: int
    bits: int
    levels: float


def difference_hash(images: Images) -> Hashes:
    """256 bits of each image: whether grey rises from left to right, at 16 x 16 places; (N, 4).

    Args:
        images: uint8 (N, S, S, 3).

    Reference: Krawetz, "Kind of like that" (2013), dHash, here of 16 rows in place of 8.
    """
    grey = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    small = _area_mean(ROWS, images.shape[1]) @ grey @ _area_mean(COLUMNS, images.shape[2]).T
    bits = small[:, :, 1:] > small[:, :, :-1] + 0.5  # half a grey level, so that flat ground is no noise
    return np.packbits(bits.reshape(len(images), -1), axis=1).view(np.uint64)


def _area_mean(parts: int, side: int) -> npt.NDArray[np.float32]:
    """The matrix (parts, side) that averages equal stretches of a side."""
    edges = np.linspace(0, side, parts + 1)
    covered = np.minimum(edges[1:, None], np.arange(1, side + 1)) - np.maximum(
        edges[:-1, None], np.arange(side)
    )
    shares: npt.NDArray[np.float32] = (np.maximum(covered, 0) * parts / side).astype(np.float32)
    return shares


def near_pairs(test: ImageSource, train: ImageSource, size: int) -> list[NearPair]:
    """For each test image that has a near-duplicate in training, the nearest one.

    Args:
        test: M images of `size` px.
        train: N images.
        size: height and width in px.
    """
    rows = np.arange(len(test))
    if len(test) * len(train) > MOST_PAIRS:
        rows = np.linspace(0, len(test) - 1, max(1, MOST_PAIRS // len(train))).astype(np.int64)
    known = np.concatenate(list(_hashes(train, size)))
    asked = np.concatenate(list(_hashes(test, size)))[rows]
    step = max(1, PAIRS // len(known))
    found: list[tuple[int, int, int]] = []
    for start in range(0, len(asked), step):
        differing = np.bitwise_count(asked[start : start + step, None] ^ known).sum(axis=2, dtype=np.int64)
        nearest = differing.argmin(axis=1)
        bits = differing[np.arange(len(nearest)), nearest]
        close = np.flatnonzero(bits <= MOST_BITS)
        found += zip(
            (rows[start:][close]).tolist(), nearest[close].tolist(), bits[close].tolist(), strict=True
        )
    pairs = (NearPair(one, other, bits, _levels(test, one, train, other)) for one, other, bits in found)
    return [pair for pair in pairs if pair.levels <= MOST_LEVELS]


def _hashes(images: ImageSource, size: int) -> Iterator[Hashes]:
    step = chunk_images(size)
    for start in range(0, len(images), step):
        yield difference_hash(images[start : start + step])


def _levels(test: ImageSource, one: int, train: ImageSource, other: int) -> float:
    first, second = test[one : one + 1].astype(np.float32), train[other : other + 1].astype(np.float32)
    return round(float(np.abs(first - second).mean()), 2)


def report_near(survey: Survey, listed: Path) -> dict[str, Any]:
    """Look for near-duplicates across the splits of a survey, name them, and list all in a file.

    Returns:
        `near_duplicates`, their number, for `meta.json`.
    """
    listed.unlink(missing_ok=True)
    splits = survey.splits()
    pairs = near_pairs(splits["test"].images, splits["train"].images, survey.store.size)
    if pairs:
        test, train = survey.names("test"), survey.names("train")
        rows = [(test[pair.test], train[pair.train], pair.bits, pair.levels) for pair in pairs]
        write_csv(listed, ("test", "train", "bits", "levels"), rows)
        print(
            f"{len(pairs)} of {len(test)} test images are nearly equal to a training image, such as "
            f"{rows[0][0]} to {rows[0][1]}; all are listed in {listed}. Accuracy on them is no evidence: "
            "remove one of each pair, or give both the same split.",
            flush=True,
        )
    return {"near_duplicates": len(pairs)}
