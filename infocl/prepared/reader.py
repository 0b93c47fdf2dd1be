"""Reading prepared data sets: `meta.json` and memory-mapped arrays, checked against each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infocl.config import Crop, DataParams, TaskKind
from infocl.prepared.rows import Images
from infocl.prepared.shards import ShardedRows, open_shards
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_array, read_json, sha256_array, sha256_npy
from infocl.runtime.paths import PREPARED, TARGETS, rerun

FORMAT = 2
META_FILE = "meta.json"
ENTRIES = {"images", "labelled", "images_sha256", "labels_sha256"}  # of a split in meta.json


class Split:
    """Images of one split and their labels.

    Args:
        count: N of the images.
        labels: as `Prepared.labels` gives them, or None when the split is unlabelled.
        images_sha256: hash of the images, as written at preparation.
        read: gives the images.
    """

    def __init__(
        self, count: int, labels: npt.NDArray[Any] | None, images_sha256: str, read: Callable[[], Images]
    ) -> None:
        self.labels, self.images_sha256 = labels, images_sha256
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    @cached_property
    def images(self) -> Images:
        """uint8 (N, H, W, 3), memory-mapped or in shards. What is read is compared with its hash before.

        Raises:
            UserError: the images are missing, or are not those that were prepared.
        """
        return self._read()


class Prepared:
    """A prepared data set on disk, or, without the images that pretraining sees, beside their shards.

    Args:
        folder: where `meta.json` lies.
        meta: its content.
        shards: folder or bucket of those images where the folder lacks them; empty: nowhere.
    """

    def __init__(self, folder: Path, meta: dict[str, Any], shards: str = "") -> None:
        self.folder = folder
        self.meta = meta
        self._shards = shards
        self._hint = _hint(folder)
        self._read: dict[str, Split] = {}
        try:
            self.name: str = meta["name"]
            self.classes: list[str] | None = meta["classes"]
            self.kind: TaskKind = meta.get("kind", "class")
            self.image_size: int = meta["image_size"]
            self.crop: Crop = meta.get("crop", "center")
            self.mean: list[float] = meta["mean"]
            self.std: list[float] = meta["std"]
            self.splits: dict[str, dict[str, Any]] = meta["splits"]
            images_in: str | None = meta["images_in"]
            complete = all(set(s) >= ENTRIES for s in self.splits.values())
            if not complete or len(self.mean) != 3 or len(self.std) != 3:
                raise KeyError("a complete entry of splits, mean or std")
        except KeyError as error:
            raise UserError(f"{folder / META_FILE} lacks {error}; {self._hint}") from None
        except (TypeError, AttributeError):
            raise UserError(f"{folder / META_FILE} holds values of wrong types; {self._hint}") from None
        self._images_folder = folder.parent / images_in if images_in else folder

    def split(self, name: str) -> Split:
        """Read a split, once; the images stay on disk until they are used.

        Raises:
            UserError: there is no such split, or its files are missing, corrupt or of other shapes.
        """
        if name not in self._read:
            self._read[name] = self._open(name)
        return self._read[name]

    def _open(self, name: str) -> Split:
        about = self._about(name)
        read = self._in_shards if self._shards and self._lacks(name) else self._mapped(name)
        return Split(about["images"], self.labels(name), about["images_sha256"], read)

    def _lacks(self, name: str) -> bool:
        """Whether these are images that pretraining sees, and not on this machine."""
        return name == self.pretrain_name and not self.images_file(name).exists()

    def _in_shards(self) -> Images:
        files = open_shards(self._shards, self.images_sha256(self.pretrain_name), self.folder)
        return ShardedRows(files)

    def _mapped(self, name: str) -> Callable[[], Images]:
        file, about = self.images_file(name), self._about(name)
        images = read_array(file, self._hint, mmap=True)
        shape = (about["images"], self.image_size, self.image_size, 3)
        if images.shape != shape or images.dtype != np.uint8:
            raise UserError(f"{file} holds {images.dtype} {images.shape}, not uint8 {shape}; {self._hint}")

        def checked() -> Images:
            if sha256_npy(file) != about["images_sha256"]:
                raise UserError(f"{file} is damaged: {META_FILE} has another SHA-256; {self._hint}")
            return images

        return checked

    def images_file(self, name: str) -> Path:
        """Where the images of a split lie."""
        return self._images_folder / name / "images.npy"

    def labels(self, name: str) -> npt.NDArray[Any] | None:
        """Labels of a split, None when it is unlabelled; its images need not be there.

        By `kind` they are classes, int64 (N,), several labels, int64 (N, C) of 0 and 1, or numbers,
        float64 (N,).

        Raises:
            UserError: there is no such split, or the file is missing, corrupt or of another shape.
        """
        if not self._about(name)["labelled"]:
            return None
        labels_file = self.folder / name / "labels.npy"
        labels = read_array(labels_file, self._hint)
        count, classes = self.splits[name]["images"], len(self.classes or ())
        shape = (count, classes) if self.kind == "labels" else (count,)
        dtype = np.float64 if self.kind == "number" else np.int64
        if labels.shape != shape or labels.dtype != dtype:
            wanted = f"{np.dtype(dtype)} {shape}"
            raise UserError(f"{labels_file} is {labels.dtype} {labels.shape}, not {wanted}; {self._hint}")
        most = {"class": classes - 1, "labels": 1, "number": np.inf}[self.kind]
        least = -np.inf if self.kind == "number" else 0
        if labels.size and not least <= labels.min() <= labels.max() <= most:
            raise UserError(f"{labels_file} holds labels outside {least} to {most}; {self._hint}")
        if sha256_array(labels) != self.splits[name]["labels_sha256"]:
            raise UserError(f"{labels_file} is damaged: {META_FILE} has another SHA-256; {self._hint}")
        return labels

    def count(self, name: str) -> int:
        """How many images a split has."""
        return int(self._about(name)["images"])

    def images_sha256(self, name: str) -> str:
        """The hash of a split's images, as written at preparation."""
        return str(self._about(name)["images_sha256"])

    def _about(self, name: str) -> dict[str, Any]:
        if name not in self.splits:
            raise UserError(f"{self.folder} has no split {name!r} but {', '.join(self.splits)}; {self._hint}")
        return self.splits[name]

    @property
    def pretrain_name(self) -> str:
        """The split that pretraining sees: `pretrain` where there is one, otherwise `train`."""
        return "pretrain" if "pretrain" in self.splits else "train"

    @property
    def pretrain_bytes(self) -> int:
        """Bytes of the images that pretraining sees."""
        return self.count(self.pretrain_name) * 3 * self.image_size**2

    @property
    def pretrain(self) -> Split:
        """The images that pretraining sees."""
        return self.split(self.pretrain_name)


def load_prepared(folder: Path, shards: str = "") -> Prepared:
    """Open a prepared data set; `shards` as of `Prepared`.

    Raises:
        UserError: `meta.json` is missing, corrupt or of another format.
    """
    hint = _hint(folder)
    meta = read_json(folder / META_FILE, hint)
    if meta.get("format") != FORMAT:
        raise UserError(f"{folder / META_FILE} has format {meta.get('format')!r}, not {FORMAT}; {hint}")
    return Prepared(folder, meta, shards)


def load_source(data: DataParams, shards: str = "") -> Prepared:
    """Open the prepared source data set; `shards` as of `Prepared`.

    Raises:
        UserError: it is missing or corrupt, or was prepared with another name, size or crop.
    """
    prepared = load_prepared(PREPARED, shards)
    for key in ("name", "image_size", "crop"):
        found, wanted = getattr(prepared, key), getattr(data, key)
        if found != wanted:
            raise UserError(
                f"{PREPARED} was prepared with data.{key} {found}, but params.yaml asks for {wanted}; "
                "run dvc repro prepare"
            )
    return prepared


def _hint(folder: Path) -> str:
    return rerun("targets", TARGETS) if folder.parent == TARGETS else rerun("prepare", folder)
