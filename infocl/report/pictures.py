"""Contact sheets: what the views look like, and what a decoder can rebuild."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

SMALLEST_SIDE = 64  # px; smaller images are enlarged so that a person can see them
GAP = 2  # px between images, enlarged with them
WHITE = 255


class Picture(NamedTuple):
    """A PNG file's bytes, and its size in px."""

    png: bytes
    width: int
    height: int


def draw_sheet(sheet: npt.NDArray[np.uint8]) -> Picture:
    """Rows of images, uint8 (rows, columns, S, S, 3), as one PNG on white."""
    scale = max(1, SMALLEST_SIDE // sheet.shape[2])
    tiles = np.pad(sheet, [(0, 0), (0, 0), (GAP, 0), (GAP, 0), (0, 0)], constant_values=WHITE)
    rows, columns, height, width, channels = tiles.shape
    pixels = tiles.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    pixels = np.pad(pixels, [(0, GAP), (0, GAP), (0, 0)], constant_values=WHITE)
    image = Image.fromarray(pixels.repeat(scale, axis=0).repeat(scale, axis=1))
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return Picture(stream.getvalue(), image.width, image.height)
