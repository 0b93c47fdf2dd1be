"""What is left of an image: as it is rebuilt from each encoder's features, and the images near it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infocl.prepared.reader import Prepared
from infocl.report.pictures import Picture, Sheet, draw_sheet, read_sheet, shrink
from infocl.results.comparison import TITLES_OF_KINDS
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_array, read_json
from infocl.runtime.paths import AUDIT, PRETRAIN, rerun

HINT = rerun("audit", AUDIT)


class Left(NamedTuple):
    """What the stage audit left to be seen.

    Attributes:
        kinds: of the encoders, E of `TITLES_OF_KINDS`.
        rebuilt: the images, and below them what each encoder leaves, (1 + E, B, S, S, 3).
        neighbours: rows of the test split, (E, A, 1 + k): an image and its nearest.
        features: of some test images by each encoder, (E, M, D).
        rows: of the test split, (M,): which images these are.
    """

    kinds: list[str]
    rebuilt: Sheet
    neighbours: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]


class Shown(NamedTuple):
    """A picture with its title and what it shows in words."""

    title: str
    picture: Picture
    words: str


def read_left(data: Prepared, encoder_sha256: str) -> Left:
    """Read `models/audit/`.

    Raises:
        UserError: a file is missing, damaged, of another encoder or of other test images.
    """
    about = read_json(AUDIT / "meta.json", HINT)
    test, kinds = data.split("test"), about.get("kinds")
    if not isinstance(kinds, list) or not kinds or not set(kinds) <= TITLES_OF_KINDS.keys():
        raise UserError(f"{AUDIT / 'meta.json'} lacks a usable kinds; {HINT}")
    if about.get("images_sha256") != test.images_sha256:
        raise UserError(f"{AUDIT} is of other test images than those in {data.folder}; {HINT}")
    if about.get("encoder_sha256") != encoder_sha256:
        raise UserError(f"{AUDIT} is of another encoder than {PRETRAIN}; {HINT}")
    neighbours = read_array(AUDIT / "neighbours.npy", HINT)
    fits = neighbours.dtype == np.int64 and neighbours.ndim == 3 and len(neighbours) == len(kinds)
    if not fits or not 0 <= neighbours.min() <= neighbours.max() < len(test):
        raise UserError(f"{AUDIT / 'neighbours.npy'} holds no rows of test images; {HINT}")
    rebuilt = read_sheet(AUDIT / "rebuilt.npy", HINT)
    if len(rebuilt) != 1 + len(kinds):
        raise UserError(
            f"{AUDIT / 'rebuilt.npy'} holds {len(rebuilt)} rows for {len(kinds)} encoders; {HINT}"
        )
    features, rows = (read_array(AUDIT / f"{name}.npy", HINT) for name in ("features", "rows"))
    shape = len(kinds), len(rows)
    if (
        features.dtype != np.float32
        or features.ndim != 3
        or features.shape[:2] != shape
        or rows.max() >= len(test)
    ):
        raise UserError(f"{AUDIT / 'features.npy'} holds no features of test images; {HINT}")
    return Left(kinds, rebuilt, neighbours, features, rows)


def rebuilt_rows(left: Left) -> list[Shown]:
    """The images, then what is rebuilt from each encoder's features."""
    titles = ["test images", *(TITLES_OF_KINDS[kind] for kind in left.kinds)]
    words = [
        f"{left.rebuilt.shape[1]} test images",
        *(
            f"the same images, rebuilt from the features of the {TITLES_OF_KINDS[kind]} encoder"
            for kind in left.kinds
        ),
    ]
    return [
        Shown(title, draw_sheet(row[None]), said)
        for title, row, said in zip(titles, left.rebuilt, words, strict=True)
    ]


def neighbour_sheets(left: Left, data: Prepared) -> list[Shown]:
    """For each encoder, images at the left and their nearest beside them."""
    test = data.split("test")
    return [
        Shown(
            TITLES_OF_KINDS[kind],
            draw_sheet(shrink(test.images[rows])),
            _neighbours(kind, rows, test.labels, data.classes),
        )
        for kind, rows in zip(left.kinds, left.neighbours, strict=True)
    ]


def _neighbours(
    kind: str, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64] | None, classes: list[str] | None
) -> str:
    """Such as "..., 24 of the 30 neighbours are of the image's class: cross beside cross, ring, ..."."""
    words = (
        f"{len(rows)} test images, each followed by its {rows.shape[1] - 1} nearest by the features of the "
        f"{TITLES_OF_KINDS[kind]} encoder"
    )
    if labels is None or classes is None:
        return words
    same = int((labels[rows[:, 1:]] == labels[rows[:, :1]]).sum())
    return f"{words}; {same} of the {rows[:, 1:].size} neighbours are of the image's class"
