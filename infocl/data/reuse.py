"""What an earlier preparation decoded, offered to the next one."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from infocl.data.store import Fact, PixelStore
from infocl.prepared.reader import META_FILE
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, replacing_folder, sha256_file, sha256_npy
from infocl.runtime.paths import DECODED

FILES = "files.csv"  # of a split: the file that each row of images.npy was made from


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
    """Let a store use the images of a prepared folder, if the same decoder made them.

    Whatever is damaged there is left alone: it is about to be made anew.
    """
    try:
        meta = read_json(folder / META_FILE, "")
        made_by = tuple(meta.get(key) for key in ("decoder", "image_size", "crop"))
        if made_by != (store.decoder, store.size, store.crop):
            return
        for split, about in meta["splits"].items():
            array, listing = folder / split / "images.npy", folder / split / FILES
            intact = (
                listing.exists()
                and sha256_file(listing) == about["files_sha256"]
                and sha256_npy(array) == about["images_sha256"]
            )
            if intact:
                store.borrow(array, _facts(listing))
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return


def _facts(listing: Path) -> Iterator[Fact]:
    with listing.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        for row in csv.DictReader(stream):
            digest, pixels = bytes.fromhex(row["sha256"]), bytes.fromhex(row["pixels"])
            size, peak = (int(row["width"]), int(row["height"])), int(row["peak"]) if row["peak"] else None
            yield Fact(digest, *size, float(row["contrast"]), pixels, peak)
