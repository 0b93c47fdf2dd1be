"""Any folder of images: class subfolders, train/ and test/ with class subfolders, or flat."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from sklearn.model_selection import train_test_split

from infocl.data.raw import Images, Labels, RawSet, RawSplit, Request, sha256_files
from infocl.errors import UserError

SPLIT_SEED = 0
SUFFIXES = frozenset(suffix.lower() for suffix in Image.registered_extensions())
Found = tuple[list[Path], Labels | None]


def load_folder(request: Request) -> RawSet:
    """The images under `data.root`, labelled by subfolder when there are subfolders.

    Raises:
        UserError: there is no such folder, it holds no images, or one of them cannot be read.
    """
    root = Path(request.data.root)
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder; name the folder that holds the images")
    if (root / "train").is_dir() and (root / "test").is_dir():
        classes = _class_names(root / "train")
        if classes != _class_names(root / "test"):
            raise UserError(f"{root}/train and {root}/test have different class folders; make them alike")
        parts = {split: _find(root / split, classes) for split in ("train", "test")}
    else:
        classes = _class_names(root)
        parts = _held_out(root, _find(root, classes), request.data.folder.test_share)
    paths = [path for files, _ in parts.values() for path in files]
    return RawSet(
        classes=classes or None,
        source=f"folder {root.name}",
        licence="unknown",
        source_sha256=sha256_files(paths),
        splits={
            split: RawSplit(read_images(files, request.data.image_size), labels)
            for split, (files, labels) in parts.items()
        },
    )


def _class_names(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def _find(folder: Path, classes: list[str]) -> Found:
    """All image files below a folder, in a fixed order, and their labels."""
    if not classes:
        return _images_below(folder), None
    files, labels = [], []
    for index, name in enumerate(classes):
        below = _images_below(folder / name)
        files += below
        labels += [index] * len(below)
    return files, np.array(labels, np.int64)


def _images_below(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise UserError(f"{folder} holds no images; put some there or remove the folder")
    return found


def _held_out(root: Path, found: Found, share: float) -> dict[str, Found]:
    """Hold out `share` of each class, the same images on every run."""
    files, labels = found
    if labels is not None and np.bincount(labels).min() < 2:
        name = _class_names(root)[int(np.bincount(labels).argmin())]
        raise UserError(f"{root / name} holds a single image, which cannot be split; add more or remove it")
    try:
        rows = train_test_split(
            np.arange(len(files)), test_size=share, stratify=labels, random_state=SPLIT_SEED
        )
    except ValueError as error:
        raise UserError(f"{root} is too small to hold out data.folder.test_share {share} ({error})") from None
    return {
        split: ([files[row] for row in sorted(chosen)], None if labels is None else labels[np.sort(chosen)])
        for split, chosen in zip(("train", "test"), rows, strict=True)
    }


def read_images(files: list[Path], size: int) -> Images:
    """Decode image files to uint8 (N, size, size, 3): upright, RGB, resized and cropped to the centre."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(lambda path: read_image(path, size), files)))


def read_image(path: Path, size: int) -> Images:
    """Decode one file; EXIF rotation is applied, transparency lies on white.

    Raises:
        UserError: the file is not an image, is damaged, or is so large that it may be an attack.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                upright = ImageOps.exif_transpose(opened)
                return np.asarray(ImageOps.fit(_to_rgb(upright), (size, size), Image.Resampling.BILINEAR))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{path} has too many pixels to be read safely; shrink or remove it") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = str(error).splitlines()[0].replace(str(path), path.name)
        raise UserError(f"{path} cannot be read as an image ({reason}); replace or remove it") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image.convert("RGB")
