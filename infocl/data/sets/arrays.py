"""Published sets that come as arrays of pixels: CIFAR-10, CIFAR-100, STL-10, SVHN."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from torchvision.datasets import STL10, SVHN

from infocl.data.raw import Images, RawSet, RawSplit, Request, check_labels, resized, sha256_files
from infocl.data.sets.fetch import Remote, obtain, require_all, require_intact
from infocl.runtime.errors import UserError

STL_CLASSES_FILE = STL10.class_names_file
STL_SHAPE = (3, 96, 96)
RESEARCH = "unknown (published for research)"
SVHN_IMAGES = {"train": 73_257, "test": 26_032}


class Cifar(NamedTuple):
    """The binary distribution of a CIFAR set.

    The binary one, because torchvision's classes read the Python one, which is pickled, and nothing
    is ever unpickled here.
    """

    remote: Remote
    train: tuple[str, ...]
    test: tuple[str, ...]
    images: dict[str, int]
    label_bytes: int  # per image; the last one is the class
    names: str


CIFARS = {
    "cifar10": Cifar(
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            "cifar-10-batches-bin",
        ),
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        ("test_batch.bin",),
        {"train": 50_000, "test": 10_000},
        1,
        "batches.meta.txt",
    ),
    "cifar100": Cifar(
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            "cifar-100-binary",
        ),
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
    obtain(name, request.raw, [about.remote])
    folder = about.remote.place(request.raw)
    needed = [folder / file for file in (*about.train, *about.test, about.names)]
    require_all(needed, folder)
    classes = (folder / about.names).read_text().split()
    splits = {
        "train": _cifar_split(name, about, folder, "train", len(classes)),
        "test": _cifar_split(name, about, folder, "test", len(classes)),
    }
    return RawSet(
        classes,
        about.remote.url,
        RESEARCH,
        sha256_files(needed),
        resized(splits, request.data.image_size),
    )


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
    remote = Remote(STL10.url, STL10.tgz_md5, STL10.base_folder)
    obtain("stl10", request.raw, [remote])
    folder = remote.place(request.raw)
    md5s = {folder / file: md5 for file, md5 in (*STL10.train_list, *STL10.test_list)}
    require_all([*md5s, folder / STL_CLASSES_FILE], folder)
    for path, md5 in md5s.items():
        require_intact(path, md5)
    classes = (folder / STL_CLASSES_FILE).read_text().split()
    splits = {
        "pretrain": RawSplit(_stl_images(folder / "unlabeled_X.bin"), None),
        "train": _stl_split(folder, "train", len(classes)),
        "test": _stl_split(folder, "test", len(classes)),
    }
    return RawSet(classes, STL10.url, RESEARCH, sha256_files(md5s), resized(splits, request.data.image_size))


def _stl_split(folder: Path, split: str, classes: int) -> RawSplit:
    images = _stl_images(folder / f"{split}_X.bin")
    labels = np.fromfile(folder / f"{split}_y.bin", np.uint8).astype(np.int64) - 1
    check_labels("stl10", labels, classes, len(images))
    return RawSplit(images, labels)


def _stl_images(path: Path) -> Images:
    """Memory-mapped (N, 96, 96, 3): the file holds columns before rows, 2.8 GB in the unlabelled split."""
    return np.memmap(path, np.uint8, "r").reshape(-1, *STL_SHAPE).transpose(0, 3, 2, 1)


def load_svhn(request: Request) -> RawSet:
    """SVHN, cropped digits of house numbers, 32 px, without its split `extra` (Netzer et al. 2011)."""
    remotes = {split: Remote(url, md5, file) for split, (url, file, md5) in SVHN.split_list.items()}
    needed = [remotes[split] for split in SVHN_IMAGES]
    obtain("svhn", request.raw, needed)
    splits = {}
    for split, count in SVHN_IMAGES.items():
        path = remotes[split].place(request.raw)
        require_intact(path, remotes[split].md5)
        read = SVHN(str(request.raw), split)  # scipy's loadmat: nothing is unpickled
        if len(read.data) != count:
            raise UserError(f"{path} holds {len(read.data)} images, not {count}; replace it")
        check_labels("svhn", read.labels, 10, count)
        splits[split] = RawSplit(read.data.transpose(0, 2, 3, 1), read.labels)
    return RawSet(
        [str(digit) for digit in range(10)],
        "SVHN (http://ufldl.stanford.edu/housenumbers)",
        "non-commercial use only",
        sha256_files(remote.place(request.raw) for remote in needed),
        resized(splits, request.data.image_size),
    )
