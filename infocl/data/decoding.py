"""Decoding image files: upright, RGB, resized and cropped, whatever Pillow reads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageOps

from infocl.config import Crop
from infocl.errors import UserError

Images = npt.NDArray[np.uint8]

# Pillow hands EPS to Ghostscript, which runs what is in the file.
EXTENSIONS = Image.registered_extensions()
FORMATS = sorted(set(Image.OPEN) - {"EPS"})
SUFFIXES = frozenset(suffix for suffix, kind in EXTENSIONS.items() if kind in FORMATS)
# Pixels that one decoder made are never mixed with those of another.
VERSION = 1  # raised whenever other pixels come out; a test holds them
DECODER = f"Pillow {PIL.__version__}, InfoCL's decoder {VERSION}"


class Decoded(NamedTuple):
    """Pixels uint8 (S, S, 3), and the file's own width and height in px, upright."""

    pixels: Images
    width: int
    height: int


class UnreadableError(UserError):
    """A file is not an image, is damaged, or is so large that it may be an attack.

    Attributes:
        reason: what is wrong, without the file's name.
    """

    def __init__(self, path: Path, reason: str, mend: str) -> None:
        super().__init__(f"{path} {reason}; {mend}")
        self.reason = reason


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
        with decoding_threads() as pool:
            for row, image in enumerate(pool.map(lambda path: read_image(path, self.size), files)):
                images[row] = image
        return images


@contextmanager
def decoding_threads() -> Iterator[Executor]:
    """One thread per core, in which images of suspicious size are errors."""
    # Outside the threads, because filters of warnings belong to the whole process.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield pool


def read_image(path: Path, size: int) -> Images:
    """The pixels of `decode_image`."""
    return decode_image(path, size).pixels


def decode_image(path: Path, size: int, crop: Crop = "center") -> Decoded:
    """Decode one file and make it square, antialiased; raises as `decode`.

    Args:
        path: of the file.
        size: height and width in px.
        crop: center (the middle square, resized) or squash (all of it, resized whatever its shape).
    """
    upright = decode(path)
    square, bilinear = (size, size), Image.Resampling.BILINEAR
    fitted = upright.resize(square, bilinear) if crop == "squash" else ImageOps.fit(upright, square, bilinear)
    return Decoded(np.asarray(fitted), *upright.size)


def decode(path: Path) -> Image.Image:
    """Decode one file to RGB: its first frame, EXIF rotation applied, transparency on white.

    Raises:
        UnreadableError: the file is not an image, is damaged, or is so large that it may be an attack.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            return _to_rgb(ImageOps.exif_transpose(opened))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableError(path, "has too many pixels to be read safely", "shrink or remove it") from None
    except Exception as error:  # decoders of damaged files fail in every way there is
        why = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
        reason = f"cannot be read as an image ({why})"
        raise UnreadableError(path, reason, "replace or remove it") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        low, high = np.asarray(image).min(), np.asarray(image).max()
        if not 0 <= low <= high <= 255:
            raise ValueError(f"its pixels range from {low:g} to {high:g}, so it is unclear what is white")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image.convert("RGB")
