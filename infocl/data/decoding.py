"""Decoding image files: upright, RGB, resized and cropped, whatever Pillow reads."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from infocl.errors import UserError

Images = npt.NDArray[np.uint8]

# Pillow hands EPS to Ghostscript, which runs what is in the file.
EXTENSIONS = Image.registered_extensions()
FORMATS = sorted(set(Image.OPEN) - {"EPS"})
SUFFIXES = frozenset(suffix for suffix, kind in EXTENSIONS.items() if kind in FORMATS)


def read_images(files: list[Path], size: int) -> Images:
    """Decode image files to uint8 (N, size, size, 3): upright, RGB, resized and cropped to the centre."""
    # Outside the threads, because filters of warnings belong to the whole process.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return np.stack(list(pool.map(lambda path: read_image(path, size), files)))


def read_image(path: Path, size: int) -> Images:
    """Decode one file to uint8 (size, size, 3), cropped to the centre; raises as `decode`."""
    return np.asarray(ImageOps.fit(decode(path), (size, size), Image.Resampling.BILINEAR))


def decode(path: Path) -> Image.Image:
    """Decode one file to RGB: its first frame, EXIF rotation applied, transparency on white.

    Raises:
        UserError: the file is not an image, is damaged, or is so large that it may be an attack.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            return _to_rgb(ImageOps.exif_transpose(opened))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{path} has too many pixels to be read safely; shrink or remove it") from None
    except Exception as error:  # decoders of damaged files fail in every way there is
        reason = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as an image ({reason}); replace or remove it") from None


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


def images_below(folder: Path) -> list[Path]:
    """All image files below a folder, sorted, but not below hidden ones, where programs keep thumbnails.

    Raises:
        UserError: there are none.
    """
    found = sorted(path for path in folder.rglob("*") if is_image(path) and _visible(path, folder))
    if not found:
        raise UserError(f"{folder} holds no images; put some there or remove the folder")
    return found


def is_image(path: Path) -> bool:
    """A file with the suffix of a format that is read, and not hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _visible(path: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)
