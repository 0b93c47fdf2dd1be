"""A table in parts: which images are in which, and which parts are done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from infocl.deploy.cluster.storage import Folder
from infocl.runtime.errors import UserError

PLAN_FILE = "plan.json"
SKIPPED = b"skipped"  # metadata of a part: what was not readable


class Part(NamedTuple):
    """Some of the images, which go into one file."""

    number: int
    names: list[str]

    @property
    def file(self) -> str:
        """Files sort as parts do."""
        return f"part-{self.number:08}.parquet"


class Done(NamedTuple):
    """A finished part: its rows, and a line for each image that it lacks."""

    rows: int
    skipped: list[str]


def split(names: Sequence[str], size: int) -> list[Part]:
    """Names in parts of so many, in their order."""
    return [
        Part(number, list(names[start : start + size]))
        for number, start in enumerate(range(0, len(names), size))
    ]


def agree(folder: Folder, names: Sequence[str], size: int, encoder_sha256: str) -> None:
    """Write down what a folder is to hold, so that only the same work is ever continued in it.

    Raises:
        UserError: the folder was begun for other images, another encoder or another size of parts.
    """
    listed = hashlib.sha256(b"\n".join(map(os.fsencode, names))).hexdigest()
    plan = {"images": len(names), "names_sha256": listed, "part": size, "encoder_sha256": encoder_sha256}
    try:
        with folder.open(PLAN_FILE) as stream:
            begun = json.loads(stream.read())
    except FileNotFoundError:
        folder.write(PLAN_FILE, json.dumps(plan).encode())
        return
    except ValueError:
        begun = None
    if begun != plan:
        wanted = "other images, another encoder or parts of another size"
        raise UserError(f"{folder.address} was begun for {wanted}; name a new folder with -o, or empty it")


def finished(folder: Folder, part: Part) -> Done | None:
    """What a part's file says, once it is whole: the end of a Parquet file is written last."""
    try:
        with folder.open(part.file) as stream:
            footer = pq.read_metadata(stream)
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    about: Mapping[bytes, bytes] = footer.metadata or {}
    skipped: list[Any] = json.loads(about.get(SKIPPED, b"[]"))
    return Done(footer.num_rows, skipped) if footer.num_rows + len(skipped) == len(part.names) else None
