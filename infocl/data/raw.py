"""What a reader returns, and what readers share: batched resizing and messages for missing files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from infocl.config import DataParams
from infocl.runtime.errors import UserError
from infocl.runtime.files import sha256_file

if TYPE_CHECKING:
    from infocl.data.store import PixelStore

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
CHUNK = 4096  # images resized at a time
LISTED = ("path", "sha256", "width", "height", "contrast", "pixels", "peak")  # columns of files.csv


class ImageSource(Protocol):
    """Images in a fixed order: an array, or what makes them where it is sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Images:
        """uint8 (n, S, S, 3)."""


@dataclass(frozen=True)
class RawSplit:
    """Images uint8 (N, S, S, 3) and labels, or None when unlabelled.

    Labels are int64 (N,), of a task of several labels int64 (N, C) of 0 and 1, of numbers float64 (N,).

    `listing` gives, for each image, the values of `LISTED`, where the images come from files.
    """

    images: ImageSource
    labels: npt.NDArray[Any] | None
    listing: Callable[[], Iterable[Sequence[Any]]] | None = None


@dataclass(frozen=True)
class RawSet:
    """A data set in memory.

    Attributes:
        classes: their names, or None when unlabelled.
        source: where the images come from, for people.
        licence: of the images, as an SPDX name where there is one.
        source_sha256: hash of the files or arrays the images were made from.
        splits: `train`, `test` and, where pretraining uses other images, `pretrain`.
        images_in: the set whose images these labels belong to, where they are shared.
        about: more for `meta.json`.
    """

    classes: list[str] | None
    source: str
    licence: str
    source_sha256: str
    splits: dict[str, RawSplit]
    images_in: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What a reader must know: the block `data`, the folder of raw files, and where decoded images lie."""

    data: DataParams
    raw: Path
    store: PixelStore | None = None


def resize(images: npt.NDArray[Any], size: int) -> Images:
    """Antialiased bilinear resize of uint8 (N, H, W, 3) to (N, size, size, 3), in chunks."""
    if images.shape[1:3] == (size, size):
        return np.ascontiguousarray(images)
    import torch  # here and the next: they take two seconds, and most sets are never resized
    from torchvision.transforms.v2 import functional as TF

    resized = np.empty((len(images), size, size, 3), np.uint8)
    for start in range(0, len(images), CHUNK):
        chunk = torch.from_numpy(np.ascontiguousarray(images[start : start + CHUNK])).permute(0, 3, 1, 2)
        small = TF.resize(chunk, [size, size], antialias=True)
        resized[start : start + CHUNK] = small.permute(0, 2, 3, 1).numpy()
    return resized


def resized(splits: Mapping[str, RawSplit], size: int) -> dict[str, RawSplit]:
    """All splits by `resize`."""
    return {name: RawSplit(resize(split.images[:], size), split.labels) for name, split in splits.items()}


def grey_to_rgb(images: npt.NDArray[Any]) -> Images:
    """uint8 (N, H, W) to (N, H, W, 3)."""
    return np.repeat(images[..., None], 3, axis=-1)


def missing(name: str, folder: Path, files: Iterable[str], reason: object) -> UserError:
    """The message for a data set whose files are not there and cannot be downloaded."""
    why = " ".join(str(reason).split()) or type(reason).__name__
    return UserError(
        f"data set {name} is not in {folder} and could not be downloaded ({why}); put {', '.join(files)} "
        f"there, or set data.root (of a target: transfer.root) or INFOCL_DATA to the folder that holds them"
    )


def sha256_files(paths: Iterable[Path]) -> str:
    """One hash over several files, in the given order."""
    hashes = [sha256_file(path) for path in paths]
    if len(hashes) == 1:
        return hashes[0]
    return sha256("".join(hashes).encode()).hexdigest()


def check_labels(name: str, labels: Labels, classes: int, images: int) -> None:
    """Refuse labels that do not fit their images or classes.

    Raises:
        UserError: counts differ, or a label is outside the classes.
    """
    if len(labels) != images:
        raise UserError(f"data set {name} has {images} images but {len(labels)} labels; get its files anew")
    if images and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"data set {name} has labels outside 0 to {classes - 1}; get its files anew")
