"""Contact sheets: rows of images, read, and drawn as one picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from infocl.runtime.errors import UserError
from infocl.runtime.files import read_array

SMALLEST_SIDE = 64  # px; smaller images are enlarged so that a person can see them
LARGEST_SIDE = 64  # px; larger images are shrunk, where many are shown
GAP = 2  # px between images, enlarged with them

Sheet = npt.NDArray[np.uint8]  # (rows, columns, S, S, 3)


class Picture(NamedTuple):
    """A PNG file's bytes, and its size in px."""

    png: bytes
    width: int
    height: int


def read_sheet(path: Path, hint: str) -> Sheet:
    """Rows of images, uint8 (rows, columns, S, S, 3).

    Raises:
        UserError: the file is missing, damaged, or holds something else; the message ends with the hint.
    """
    sheet = read_array(path, hint)
    if sheet.dtype != np.uint8 or sheet.ndim != 5 or sheet.shape[4] != 3 or not sheet.size:
        raise UserError(f"{path} holds {sheet.dtype} {sheet.shape}, no rows of images; {hint}")
    return sheet


def draw_sheet(sheet: Sheet) -> Picture:
    """Rows of images, uint8 (rows, columns, S, S, 3), as one PNG, transparent between them."""
    scale = max(1, SMALLEST_SIDE // sheet.shape[2])
    opaque = np.pad(sheet, [(0, 0)] * 4 + [(0, 1)], constant_values=255)
    tiles = np.pad(opaque, [(0, 0), (0, 0), (GAP, 0), (GAP, 0), (0, 0)])
    rows, columns, height, width, channels = tiles.shape
    pixels = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    pixels = np.pad(pixels, [(0, GAP), (0, GAP), (0, 0)])
    image = Image.fromarray(pixels.repeat(scale, axis=0).repeat(scale, axis=1))
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return Picture(stream.getvalue(), image.width, image.height)


def shrink(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (..., S, S, 3) at no more than about 64 px, each pixel the mean of whole ones."""
    *several, side, _, channels = images.shape
    block = max(1, side // LARGEST_SIDE)
    kept = side // block
    whole = images[..., : kept * block, : kept * block, :]
    means = whole.reshape(*several, kept, block, kept, block, channels).mean((-4, -2))
    small: npt.NDArray[np.uint8] = means.round().astype(np.uint8)
    return small
