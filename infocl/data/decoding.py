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

from infocl.config import Bits, Crop
from infocl.prepared.square import to_square
from infocl.runtime.errors import UserError

Images = npt.NDArray[np.uint8]

# Pillow hands EPS to Ghostscript, which runs what is in the file.
EXTENSIONS = Image.registered_extensions()
FORMATS = sorted(set(Image.OPEN) - {"EPS"})
SUFFIXES = frozenset(suffix for suffix, kind in EXTENSIONS.items() if kind in FORMATS)
# Pixels that one decoder made are never mixed with those of another.
VERSION = 4  # raised whenever other pixels come out; a test holds them
BITS_PER_SAMPLE = 258  # tag of TIFF
PEAK = "peak"  # key in an image's info
DECODER = f"Pillow {PIL.__version__}, InfoCL's decoder {VERSION}"


class Decoded(NamedTuple):
    """Pixels uint8 (S, S, 3), and the file's own width and height in px, upright.

    `peak` is the largest sample of a file of 16 bits that does not say how many of them it uses.
    """

    pixels: Images
    width: int
    height: int
    peak: int | None


class UnreadableError(UserError):
    """A file is not an image, is damaged, or is so large that it may be an attack.

    Attributes:
        reason: what is wrong, without the file's name.
    """

    def __init__(self, path: Path, reason: str, hint: str) -> None:
        super().__init__(f"{path} {reason}; {hint}")
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


def decode_image(
    path: Path, size: int, crop: Crop = "center", bits: Bits = "auto", background: str = "white"
) -> Decoded:
    """Decode one file and make it square, antialiased; raises as `decode`.

    Args:
        path: of the file.
        size: height and width in px.
        crop: center (the middle square, resized) or squash (all of it, resized whatever its shape).
        bits: as in `decode`.
        background: as in `decode`.
    """
    upright = decode(path, bits, background)
    return Decoded(np.asarray(to_square(upright, size, crop)), *upright.size, upright.info.get(PEAK))


def decode(path: Path, bits: Bits = "auto", background: str = "white") -> Image.Image:
    """Decode one file to RGB: its first frame, EXIF rotation applied.

    Floats that all lie in 0 to 1 are scaled by 255; whole numbers of 32 bits that fit into 16 count as such.

    Args:
        path: of the file.
        bits: that files of 16 bits use; auto takes what a TIFF says, otherwise 16. The upper 8 remain.
        background: the colour below what is transparent.

    Raises:
        UnreadableError: the file is not an image, is damaged, or is so large that it may be an attack.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            stated = getattr(opened, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
            raw = str(opened.tile[0].args) if opened.tile else ""
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16") or _deep(upright):
                return _from_sixteen_bits(upright, stated if stated < 32 else 16, bits)
            rgb = _to_rgb(upright, background)
            return _checked(rgb, bits) if ";16" in raw else rgb
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableError(path, "has too many pixels to be read safely", "shrink or remove it") from None
    except Exception as error:  # decoders of damaged files fail in every way there is
        why = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
        reason = f"cannot be read as an image ({why})"
        raise UnreadableError(path, reason, "replace or remove it") from None


def _from_sixteen_bits(image: Image.Image, stated: int, bits: Bits) -> Image.Image:
    samples = np.asarray(image)
    used, peak = (stated if stated < 16 else 16 if bits == "auto" else bits), int(samples.max())
    if peak >> used:
        raise ValueError(f"it has samples up to {peak}, more than data.folder.bits {used} can hold")
    rgb = Image.fromarray((samples >> (used - 8)).astype(np.uint8)).convert("RGB")
    if stated == 16:
        rgb.info[PEAK] = peak
    return rgb


def _checked(rgb: Image.Image, bits: Bits) -> Image.Image:
    """An image of 16 bits per colour, of which Pillow has read the upper 8."""
    if bits not in ("auto", 16):
        raise ValueError("it has 16 bits per colour, of which only the upper 8 are read; save it with 8 bits")
    rgb.info[PEAK] = (int(np.asarray(rgb).max()) << 8) + 255
    return rgb


def _deep(image: Image.Image) -> bool:
    """Whether whole numbers of 32 bits, such as depths in mm, fit into 16 and need more than 8."""
    if image.mode != "I":
        return False
    samples = np.asarray(image)
    return bool(samples.min() >= 0 and 255 < samples.max() < 1 << 16)


def _to_rgb(image: Image.Image, background: str) -> Image.Image:
    if image.mode in ("I", "F"):
        low, high = np.asarray(image).min(), np.asarray(image).max()
        if image.mode == "F" and 0 <= low <= high <= 1:  # of 0 to 1, as most libraries write them
            image = Image.fromarray((255 * np.asarray(image)).round().astype(np.uint8))
        elif not 0 <= low <= high <= 255:
            raise ValueError(f"its pixels range from {low:g} to {high:g}, so it is unclear what is white")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, background), layered).convert("RGB")
    return image.convert("RGB")
