"""Decoding image files: upright, RGB, resized and cropped, whatever Pillow reads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from infocl.data.raw import Images
from infocl.errors import UserError

# Pillow hands EPS to Ghostscript, which runs what is in the file.
EXTENSIONS = Image.registered_extensions()
FORMATS = sorted(set(Image.OPEN) - {"EPS"})
SUFFIXES = frozenset(suffix for suffix, kind in EXTENSIONS.items() if kind in FORMATS)


class ImageFiles:
    """Image files as an array that is decoded where it is sliced: upright, RGB, cropped to the centre.

    `images[start:stop]` is uint8 (n, size, size, 3); nothing is kept, so a slice is decoded anew each time.

    Args:
        paths: of the files, one for each image.
        size: height and width in px.
    """

    def __init__(self, paths: Sequence[Path], size: int) -> None:
        self.paths = paths
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: slice) -> Images:
        """The images of a slice.

        Raises:
            UserError: a file is not an image, is damaged, or is so large that it may be an attack.
        """
        files = self.paths[rows]
        images = np.empty((len(files), self.size, self.size, 3), np.uint8)
        # Outside the threads, because filters of warnings belong to the whole process.
        with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            for row, image in enumerate(pool.map(lambda path: read_image(path, self.size), files)):
                images[row] = image
        return images


def read_image(path: Path, size: int) -> Images:
    """Decode one file; EXIF rotation is applied, transparency lies on white.

    Raises:
        UserError: the file is not an image, is damaged, or is so large that it may be an attack.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            upright = ImageOps.exif_transpose(opened)
            return np.asarray(ImageOps.fit(_to_rgb(upright), (size, size), Image.Resampling.BILINEAR))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{path} has too many pixels to be read safely; shrink or remove it") from None
    except Exception as error:  # decoders of damaged files fail in every way there is
        reason = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as an image ({reason}); replace or remove it") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image.convert("RGB")
