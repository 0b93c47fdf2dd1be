"""What an earlier preparation decoded, offered to the next one."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np

from infocl.data.decoding import DECODER
from infocl.data.prepared import META_FILE
from infocl.data.store import PixelStore
from infocl.errors import UserError
from infocl.files import read_json, replacing_folder
from infocl.layout import DECODED

FILES = "files.csv"  # of a split: the file that each row of images.npy was made from
BLOCK = 1 << 20


def kept_folder(role: str, name: str, raw: Path, store: PixelStore) -> Path:
    """Where the decoded images of a set lie between preparations, because DVC clears what a stage writes.

    Args:
        role: source or target; their splits are not the same.
        name: of the set.
        raw: the folder of its files.
        store: names size and crop.
    """
    made_from = f"{role}\n{os.path.realpath(raw)}\n{store.size}\n{store.crop}"
    return DECODED / f"{name}-{sha256(os.fsencode(made_from)).hexdigest()[:12]}"


def keep_decoded(kept: Path, prepared: Path) -> None:
    """Keep the images of a prepared set that was made from files, as links where the file system can."""
    splits = [listing.parent.name for listing in prepared.glob(f"*/{FILES}")]
    if not splits:
        return
    with replacing_folder(kept) as folder:
        for split in splits:
            (folder / split).mkdir()
        for file in (META_FILE, *(f"{split}/{name}" for split in splits for name in ("images.npy", FILES))):
            try:
                os.link(prepared / file, folder / file)
            except OSError:
                shutil.copyfile(prepared / file, folder / file)


def borrow_prepared(store: PixelStore, folder: Path) -> None:
    """Let a store use the images of a prepared folder, if the same decoder made them and they are intact."""
    try:
        meta = read_json(folder / META_FILE, "")
    except UserError:
        return
    made_by = tuple(meta.get(key) for key in ("decoder", "image_size", "crop"))
    if made_by != (DECODER, store.size, store.crop):
        return
    for split, about in meta["splits"].items():
        array, listing = folder / split / "images.npy", folder / split / FILES
        if array.exists() and listing.exists() and sha256_npy(array) == about["images_sha256"]:
            store.borrow(array, _facts(listing))


def _facts(listing: Path) -> Iterator[tuple[bytes, int, int, float]]:
    with listing.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        for row in csv.DictReader(stream):
            digest = bytes.fromhex(row["sha256"])
            yield digest, int(row["width"]), int(row["height"]), float(row["contrast"])


def sha256_npy(file: Path) -> str:
    """What `sha256_array` gives of the array in a `.npy` file, read block by block."""
    with file.open("rb") as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        digest = sha256(f"{shape}{dtype.str}".encode())
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
