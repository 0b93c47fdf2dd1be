"""Any folder of images: class subfolders, train/ and test/ with class subfolders, or flat."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import numpy as np

from infocl.data.decoding import SUFFIXES, ImageFiles
from infocl.data.raw import Labels, RawSet, RawSplit, Request
from infocl.errors import UserError
from infocl.files import sha256_file

SPLIT_SEED = 0
Found = tuple[list[Path], Labels | None]


def load_folder(request: Request) -> RawSet:
    """The images under `data.root`, labelled by subfolder when there are subfolders.

    Raises:
        UserError: there is no such folder, it holds no images, its layout is unclear, or an image
            cannot be read.
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
        _check_classes(root, classes)
        parts = _held_out(root, _find(root, classes), classes, request.data.folder.test_share)
    return RawSet(
        classes=classes or None,
        source=f"folder {root.name}",
        licence="unknown",
        source_sha256=_sha256_named(root, [path for files, _ in parts.values() for path in files]),
        splits={
            split: RawSplit(ImageFiles(files, request.data.image_size), labels)
            for split, (files, labels) in parts.items()
        },
    )


def _class_names(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )


def _check_classes(root: Path, classes: list[str]) -> None:
    """Refuse layouts that would be learned from in another way than they are meant."""
    if "train" in classes and _class_names(root / "train"):
        raise UserError(
            f"{root / 'train'} has no {root / 'test'} beside it; add it, or rename the one you have"
        )
    if len(classes) == 1:
        raise UserError(
            f"{root / classes[0]} is the only class; add another, or set data.root to it to go without labels"
        )
    if classes and (stray := next((path for path in sorted(root.iterdir()) if _is_image(path)), None)):
        raise UserError(f"{stray} lies beside class folders; move it into one of them or remove it")


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


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _visible(path: Path, folder: Path) -> bool:
    """Not below a hidden folder, where other programs keep copies such as thumbnails."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _images_below(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if _is_image(path) and _visible(path, folder))
    if not found:
        raise UserError(f"{folder} holds no images; put some there or remove the folder")
    return found


def _held_out(root: Path, found: Found, classes: list[str], share: float) -> dict[str, Found]:
    """Hold out `share` of each class, at least one image and not all, the same on every run."""
    files, labels = found
    groups = np.zeros(len(files), np.int64) if labels is None else labels
    counts = np.bincount(groups)
    if counts.min() < 2:
        folder = root / classes[int(counts.argmin())] if classes else root
        raise UserError(f"{folder} holds a single image, which cannot be split; add more or remove it")
    keys = np.random.default_rng(SPLIT_SEED).random(len(files))
    order = np.lexsort((keys, groups))
    rank = np.arange(len(files)) - np.repeat(np.cumsum(counts) - counts, counts)
    quota = np.clip(np.rint(share * counts).astype(np.int64), 1, counts - 1)
    held = np.zeros(len(files), bool)
    held[order[rank < quota[groups[order]]]] = True
    return {
        split: ([files[row] for row in np.flatnonzero(mask)], None if labels is None else labels[mask])
        for split, mask in (("train", ~held), ("test", held))
    }


def _sha256_named(root: Path, files: list[Path]) -> str:
    """One hash over the files' names, which hold their classes, and contents."""
    lines = [f"{path.relative_to(root).as_posix()} {sha256_file(path)}\n" for path in files]
    return sha256(os.fsencode("".join(lines))).hexdigest()
