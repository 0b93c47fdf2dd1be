"""Published sets that come as IDX files, compressed or not: MNIST, FashionMNIST."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torchvision.datasets import MNIST, FashionMNIST

from infocl.data.raw import (
    RawSet,
    RawSplit,
    Request,
    check_labels,
    grey_to_rgb,
    missing,
    resized,
    sha256_files,
)
from infocl.data.sets.fetch import Remote, obtain
from infocl.runtime.errors import UserError

IMAGES = {"train": 60_000, "test": 10_000}


class IdxSet(NamedTuple):
    """A set of four IDX files, 28 px grey.

    Attributes:
        folders: where the files are looked for, below the folder of raw files, in this order.
        mirror: where they are published; the first folder is where they are downloaded to.
        resources: their names, images before labels and training before test, each with its MD5.
        first_labels: of the training images, because both sets have files of the same names and sizes.
        classes: their names.
        source: for people.
        licence: as an SPDX name.
    """

    folders: tuple[str, ...]
    mirror: str
    resources: list[tuple[str, str]]
    first_labels: list[int]
    classes: list[str]
    source: str
    licence: str


IDX_SETS = {
    "mnist": IdxSet(
        ("MNIST/raw", "mnist"),
        MNIST.mirrors[0],
        MNIST.resources,
        [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
        [str(digit) for digit in range(10)],
        "MNIST (LeCun, Cortes, Burges)",
        "CC-BY-SA-3.0",
    ),
    "fashionmnist": IdxSet(
        ("FashionMNIST/raw", "fashion-mnist", ""),
        FashionMNIST.mirrors[0],
        FashionMNIST.resources,
        [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
        list(FashionMNIST.classes),
        "FashionMNIST (Zalando Research)",
        "MIT",
    ),
}


def load_idx(request: Request, name: str) -> RawSet:
    """MNIST (LeCun et al. 1998) or FashionMNIST (Xiao, Rasul, Vollgraf 2017), 28 px grey.

    Raises:
        UserError: a file is missing, damaged, or another set's.
    """
    about = IDX_SETS[name]
    paths = _find(about, request.raw)
    if paths is None:
        base = about.folders[0]
        remotes = [Remote(about.mirror + file, md5, file, base) for file, md5 in about.resources]
        obtain(name, request.raw, remotes)
        paths = _find(about, request.raw)
    if paths is None:
        names = [file for file, _ in about.resources]
        raise missing(name, request.raw, names, "the download left no files")
    splits = {"train": _split(name, "train", paths[:2]), "test": _split(name, "test", paths[2:])}
    return RawSet(
        about.classes,
        about.source,
        about.licence,
        sha256_files(paths),
        resized(splits, request.data.image_size),
    )


def _split(name: str, split: str, files: list[Path]) -> RawSplit:
    about, (images_file, labels_file) = IDX_SETS[name], files
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1).astype(np.int64)
    if len(images) != IMAGES[split]:
        raise UserError(f"{images_file} holds {len(images)} images, not {IMAGES[split]}; replace it")
    check_labels(name, labels, len(about.classes), len(images))
    first = about.first_labels
    if split == "train" and labels[: len(first)].tolist() != first:
        raise UserError(f"{labels_file} holds the labels of another data set than {name}; replace it")
    return RawSplit(grey_to_rgb(images), labels)


def _find(about: IdxSet, raw: Path) -> list[Path] | None:
    """The four files, with or without `.gz`, from the first folder that holds them all."""
    for folder in (raw / inside for inside in about.folders):
        found = [
            next((p for p in (folder / name, folder / name.removesuffix(".gz")) if p.exists()), None)
            for name, _ in about.resources
        ]
        if all(found):
            return [path for path in found if path]
    return None


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzip'd or not.

    Args:
        path: of the file.
        dimensions: how many the array must have.

    Raises:
        UserError: the file is damaged or of another kind.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}); replace it") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise UserError(f"{path} is not an IDX file of bytes with {dimensions} dimensions; replace it")
    shape = tuple(np.frombuffer(content, ">u4", dimensions, offset=4).astype(int))
    values = np.frombuffer(content, np.uint8, offset=header)
    if values.size != np.prod(shape):
        raise UserError(f"{path} is damaged ({values.size} values instead of {np.prod(shape)}); replace it")
    return values.reshape(shape)
