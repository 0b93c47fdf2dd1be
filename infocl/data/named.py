"""Published data sets by name: CIFAR-10, CIFAR-100, STL-10, FashionMNIST."""

from __future__ import annotations

import contextlib
import gzip
import io
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torchvision.datasets import STL10, FashionMNIST
from torchvision.datasets.utils import check_integrity, download_url, extract_archive

from infocl.data.raw import (
    Images,
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
from infocl.files import replacing

FASHION_CLASSES = FashionMNIST.classes
FASHION_FILES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]
FASHION_IMAGES = {"train": 60_000, "test": 10_000}
STL_CLASSES_FILE = STL10.class_names_file
STL_SHAPE = (3, 96, 96)
SECONDS_OF_SILENCE = 30  # after which a download has failed


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
    images: dict[str, int]
    label_bytes: int  # per image; the last one is the class
    names: str


CIFARS = {
    "cifar10": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        ("test_batch.bin",),
        {"train": 50_000, "test": 10_000},
        1,
        "batches.meta.txt",
    ),
    "cifar100": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        "cifar-100-binary",
        ("train.bin",),
        ("test.bin",),
        {"train": 50_000, "test": 10_000},
        2,
        "fine_label_names.txt",
    ),
}


def load_cifar(request: Request, name: str) -> RawSet:
    """CIFAR-10 or CIFAR-100 (fine labels), 32 px (Krizhevsky 2009)."""
    about = CIFARS[name]
    folder = request.raw / about.folder
    if not folder.exists():
        archive = Path(about.url).name
        wanted = [f"the folder {about.folder} or the file {archive} (MD5 {about.md5})"]
        _obtain(name, request.raw, wanted, lambda: _unpack(about.url, about.md5, request.raw, about.folder))
    needed = [folder / file for file in (*about.train, *about.test, about.names)]
    _require(needed, folder)
    classes = (folder / about.names).read_text().split()
    splits = {
        "train": _cifar_split(name, about, folder, "train", len(classes)),
        "test": _cifar_split(name, about, folder, "test", len(classes)),
    }
    return RawSet(
        classes,
        about.url,
        "unknown (published for research)",
        sha256_files(needed),
        _resized(splits, request.data.image_size),
    )


def _unpack(url: str, md5: str, raw: Path, folder: str) -> None:
    """Download an archive unless it is there, check it, and unpack its one folder, whole or not at all."""
    archive = raw / Path(url).name
    if not archive.exists():
        with replacing(archive) as temporary:
            download_url(url, str(raw), temporary.name, md5)
    elif not check_integrity(str(archive), md5):
        raise UserError(f"{archive} is damaged or another file (MD5 is not {md5}); replace it")
    with tempfile.TemporaryDirectory(dir=raw) as unpacked:
        extract_archive(str(archive), unpacked)
        (Path(unpacked) / folder).replace(raw / folder)


def _require(files: list[Path], folder: Path) -> None:
    for path in files:
        if not path.exists():
            raise UserError(f"{path} is missing; put it there, or remove {folder} to have it unpacked again")


def _cifar_split(name: str, about: Cifar, folder: Path, split: str, classes: int) -> RawSplit:
    files = about.train if split == "train" else about.test
    row = about.label_bytes + 3 * 32 * 32
    size = about.images[split] // len(files) * row
    parts = []
    for file in files:
        content = np.fromfile(folder / file, np.uint8)
        if content.size != size:
            raise UserError(
                f"{folder / file} is damaged ({content.size} bytes, not {size}); "
                f"remove {folder} and run again"
            )
        parts.append(content.reshape(-1, row))
    rows = np.concatenate(parts)
    labels = rows[:, about.label_bytes - 1].astype(np.int64)
    check_labels(name, labels, classes, len(rows))
    return RawSplit(rows[:, about.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels)


def load_stl10(request: Request) -> RawSet:
    """STL-10, 96 px; pretraining uses its unlabelled split (Coates, Ng, Lee 2011)."""
    folder = request.raw / STL10.base_folder
    md5s = {folder / file: md5 for file, md5 in (*STL10.train_list, *STL10.test_list)}
    if not folder.exists():
        wanted = [f"the folder {STL10.base_folder} or the file {STL10.filename} (MD5 {STL10.tgz_md5})"]
        _obtain(
            "stl10",
            request.raw,
            wanted,
            lambda: _unpack(STL10.url, STL10.tgz_md5, request.raw, STL10.base_folder),
        )
    _require([*md5s, folder / STL_CLASSES_FILE], folder)
    for path, md5 in md5s.items():
        if not check_integrity(str(path), md5):
            raise UserError(f"{path} is damaged (MD5 is not {md5}); remove {folder} and run again")
    classes = (folder / STL_CLASSES_FILE).read_text().split()
    splits = {
        "pretrain": RawSplit(_stl_images(folder / "unlabeled_X.bin"), None),
        "train": _stl_split(folder, "train", len(classes)),
        "test": _stl_split(folder, "test", len(classes)),
    }
    resized = _resized(splits, request.data.image_size)
    return RawSet(classes, STL10.url, "unknown (published for research)", sha256_files(md5s), resized)


def _stl_split(folder: Path, split: str, classes: int) -> RawSplit:
    images = _stl_images(folder / f"{split}_X.bin")
    labels = np.fromfile(folder / f"{split}_y.bin", np.uint8).astype(np.int64) - 1
    check_labels("stl10", labels, classes, len(images))
    return RawSplit(images, labels)


def _stl_images(path: Path) -> Images:
    """Memory-mapped (N, 96, 96, 3): the file holds columns before rows, 2.8 GB in the unlabelled split."""
    return np.memmap(path, np.uint8, "r").reshape(-1, *STL_SHAPE).transpose(0, 3, 2, 1)


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
        if len(images) != FASHION_IMAGES[split]:
            raise UserError(
                f"{images_file} holds {len(images)} images, not {FASHION_IMAGES[split]}; replace it"
            )
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


def _obtain(name: str, raw: Path, files: list[str], download: Callable[[], object]) -> None:
    """Download quietly into `raw`; say what to put there when that fails."""
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()), _impatient():
            download()
    except (OSError, RuntimeError, ValueError) as error:
        raise missing(name, raw, files, error) from None


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Let connections fail that stay silent: torchvision sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_OF_SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _resized(splits: dict[str, RawSplit], size: int) -> dict[str, RawSplit]:
    return {name: RawSplit(resize(split.images[:], size), split.labels) for name, split in splits.items()}
