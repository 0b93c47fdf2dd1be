"""Published data sets by name: CIFAR-10, CIFAR-100, STL-10, FashionMNIST."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torchvision.datasets import STL10, FashionMNIST
from torchvision.datasets.utils import check_integrity, download_and_extract_archive

from infocl.data.raw import (
    RawSet,
    RawSplit,
    Request,
    check_labels,
    grey_to_rgb,
    missing,
    resize,
    sha256_files,
)
from infocl.errors import UserError

FASHION_CLASSES = FashionMNIST.classes
FASHION_FILES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]


class Cifar(NamedTuple):
    """The binary distribution of a CIFAR set.

    The binary one, because torchvision's classes read the Python one, which is pickled, and nothing
    is ever unpickled here.
    """

    url: str
    md5: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int  # per image; the last one is the class
    names: str


CIFARS = {
    "cifar10": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        ("test_batch.bin",),
        1,
        "batches.meta.txt",
    ),
    "cifar100": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        ("train.bin",),
        ("test.bin",),
        2,
        "fine_label_names.txt",
    ),
}


def load_cifar(request: Request, name: str) -> RawSet:
    """CIFAR-10 or CIFAR-100 (fine labels), 32 px (Krizhevsky 2009)."""
    about = CIFARS[name]
    folder = request.raw / about.folder
    archive = Path(about.url).name
    needed = [folder / file for file in (*about.train, *about.test, about.names)]
    if not all(path.exists() for path in needed):
        _obtain(
            name,
            request.raw,
            [f"the folder {about.folder} or the file {archive} (MD5 {about.md5})"],
            lambda: _fetch_archive(about, request.raw),
        )
    classes = (folder / about.names).read_text().split()
    splits = {
        "train": _cifar_split(name, folder, about.train, about.label_bytes, len(classes)),
        "test": _cifar_split(name, folder, about.test, about.label_bytes, len(classes)),
    }
    return RawSet(
        classes,
        about.url,
        "unknown (published for research)",
        sha256_files(needed),
        _resized(splits, request.data.image_size),
    )


def _fetch_archive(about: Cifar, raw: Path) -> None:
    archive = raw / Path(about.url).name
    if archive.exists() and not check_integrity(str(archive), about.md5):
        raise UserError(f"{archive} is damaged or another file (MD5 is not {about.md5}); replace it")
    download_and_extract_archive(about.url, str(raw), md5=about.md5)


def _cifar_split(name: str, folder: Path, files: tuple[str, ...], label_bytes: int, classes: int) -> RawSplit:
    row = label_bytes + 3 * 32 * 32
    parts = []
    for file in files:
        content = np.fromfile(folder / file, np.uint8)
        if len(content) == 0 or len(content) % row:
            raise UserError(
                f"{folder / file} is damaged ({len(content)} bytes, not a multiple of {row}); "
                f"remove {folder} and run again"
            )
        parts.append(content.reshape(-1, row))
    rows = np.concatenate(parts)
    labels = rows[:, label_bytes - 1].astype(np.int64)
    check_labels(name, labels, classes, len(rows))
    return RawSplit(rows[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels)


def load_stl10(request: Request) -> RawSet:
    """STL-10, 96 px; pretraining uses its unlabelled split (Coates, Ng, Lee 2011)."""
    folder = request.raw / STL10.base_folder
    archive = f"the file {STL10.filename} (MD5 {STL10.tgz_md5})"
    if not (folder / STL10.train_list[0][0]).exists():
        _obtain("stl10", request.raw, [archive], lambda: STL10(str(request.raw), download=True))
    splits, classes = {}, []
    for split, theirs in (("pretrain", "unlabeled"), ("train", "train"), ("test", "test")):
        try:
            data = STL10(str(request.raw), theirs)
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{folder} is damaged ({reason}); remove it and put {archive} there") from None
        images = data.data.transpose(0, 2, 3, 1)
        labels = None if split == "pretrain" else data.labels.astype(np.int64)
        classes = data.classes
        if labels is not None:
            check_labels("stl10", labels, len(classes), len(images))
        splits[split] = RawSplit(images, labels)
    files = [folder / file for file, _ in (*STL10.train_list, *STL10.test_list)]
    resized = _resized(splits, request.data.image_size)
    return RawSet(classes, STL10.url, "unknown (published for research)", sha256_files(files), resized)


def load_fashionmnist(request: Request) -> RawSet:
    """FashionMNIST, 28 px grey (Xiao, Rasul, Vollgraf 2017), from IDX files, compressed or not."""
    paths = _fashion_files(request.raw)
    if paths is None:
        _obtain("fashionmnist", request.raw, FASHION_FILES, lambda: _download_fashion(request.raw))
        paths = _fashion_files(request.raw)
    if paths is None:
        raise missing("fashionmnist", request.raw, FASHION_FILES, "the download left no files")
    splits = {}
    for split, (images_file, labels_file) in {"train": paths[:2], "test": paths[2:]}.items():
        images, labels = read_idx(images_file, 3), read_idx(labels_file, 1).astype(np.int64)
        check_labels("fashionmnist", labels, len(FASHION_CLASSES), len(images))
        splits[split] = RawSplit(grey_to_rgb(images), labels)
    return RawSet(
        list(FASHION_CLASSES),
        "FashionMNIST (Zalando Research)",
        "MIT",
        sha256_files(paths),
        _resized(splits, request.data.image_size),
    )


def _fashion_files(raw: Path) -> list[Path] | None:
    """The four files, with or without `.gz`, from the first folder that holds them all."""
    for folder in (raw / "FashionMNIST" / "raw", raw / "fashion-mnist", raw):
        found = [
            next((p for p in (folder / name, folder / name.removesuffix(".gz")) if p.exists()), None)
            for name in FASHION_FILES
        ]
        if all(found):
            return [path for path in found if path]
    return None


def _download_fashion(raw: Path) -> None:
    FashionMNIST(str(raw), download=True)


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
    except (OSError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}); replace it") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise UserError(f"{path} is not an IDX file of bytes with {dimensions} dimensions; replace it")
    shape = tuple(np.frombuffer(content, ">u4", dimensions, offset=4).astype(int))
    values = np.frombuffer(content, np.uint8, offset=header)
    if values.size != np.prod(shape):
        raise UserError(f"{path} is damaged ({values.size} values instead of {np.prod(shape)}); replace it")
    return values.reshape(shape)


def _obtain(name: str, raw: Path, files: list[str], download: Callable[[], object]) -> None:
    """Download quietly into `raw`; say what to put there when that fails."""
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            download()
    except (OSError, RuntimeError, ValueError) as error:
        raise missing(name, raw, files, error) from None


def _resized(splits: dict[str, RawSplit], size: int) -> dict[str, RawSplit]:
    return {name: RawSplit(resize(split.images, size), split.labels) for name, split in splits.items()}
