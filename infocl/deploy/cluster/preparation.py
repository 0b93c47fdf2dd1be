"""`infocl shard --engine ray`: from image files to shards by many machines, none of which holds them all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from infocl.config import Params
from infocl.data.folder.layouts import find_entries
from infocl.data.folder.queries import PRETRAIN, SPLITS
from infocl.data.folder.reader import load_folder
from infocl.data.prepare import counted, write_set
from infocl.data.raw import Images, Request
from infocl.data.store import PixelStore, Seen
from infocl.data.stream import chunk_images
from infocl.deploy.cluster.connection import connect, on_cluster
from infocl.deploy.cluster.decoder import DECODED, Decoded, Decoding, Places, decode_part, gather, write_shard
from infocl.deploy.cluster.parts import Part, split
from infocl.deploy.cluster.storage import Folder, is_remote
from infocl.prepared.shards import FORMAT, INDEX, MANIFEST, Manifest, Shard, shard_count
from infocl.results.writing import write_results
from infocl.runtime.cost import cost_since
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing_folder
from infocl.runtime.lock import workspace
from infocl.runtime.paths import DECODING, PREPARED
from infocl.runtime.progress import StepProgress

LINES = 10  # of progress, where there is no terminal


def shard_on_ray(params: Params, target: str) -> Manifest:
    """Decode a folder of images on the cluster of RAY_ADDRESS, and write them as shards.

    `data/prepared` is written as stage prepare writes it, but without the images that pretraining sees.

    Args:
        params: of which `data` says what to read; every machine must reach `data.root` under the same name.
        target: a folder that every machine reaches, or `s3://bucket/prefix`.

    Raises:
        UserError: the data are no folder, an image is of no use and to be refused, or the target cannot be
            used.
    """
    start, data = time.perf_counter(), params.data
    if data.name != "folder":
        raise UserError(f"--engine ray reads data.name folder, not {data.name}; leave it out")
    where = target if is_remote(target) else str(Path(target).absolute())
    how = Decoding(where, data.image_size, data.crop, data.folder.bits, data.background)
    root = Path(data.root).absolute()
    with workspace("infocl shard"):
        _require_shards(Folder(where), target)
        connect()
        with ClusterStore(DECODING / "cluster", how) as store:
            entries = sorted(find_entries(root, data.folder.csv, data.folder.label), key=_order)
            names = [str(root / entry.name) for entry in entries]
            parts = split(names, chunk_images(data.image_size))
            work = [(part.number, part.names, how) for part in parts]
            for number, found in _done(decode_part, work, len(parts), "decoding"):
                store.take(parts[number], found)
            raw_set = load_folder(Request(data, root, store))
            with replacing_folder(PREPARED) as folder:
                meta = write_set(folder, data.name, raw_set, data.image_size, store, sharded=True)
                manifest = _write_shards(store, meta, how)
        write_results("prepare", counted(meta) | cost_since(start))
    Folder(where).remove(DECODED)
    return manifest


def _order(entry: Any) -> tuple[str, str, str]:
    """As the survey orders files, so that what follows one another there lies together."""
    return entry.part or "", entry.label or "", entry.name


def _require_shards(folder: Folder, target: str) -> None:
    """Refuse a folder of something else."""
    files = folder.files()
    if files and MANIFEST not in files and not any(file.startswith(f"{DECODED}/") for file in files):
        raise UserError(f"{target} holds something other than shards; name a new or an empty folder")


class ClusterStore(PixelStore):
    """A store whose images were decoded by other machines, and lie where these have put them."""

    def __init__(self, folder: Path, how: Decoding) -> None:
        super().__init__(folder, how.size, crop=how.crop, bits=how.bits, background=how.background)
        self._decoded = how.folder
        self.database.execute("DROP TABLE IF EXISTS looked")
        self.database.execute(
            "CREATE TABLE looked (name BLOB PRIMARY KEY, digest BLOB, kind TEXT, reason TEXT)"
        )

    def take(self, part: Part, found: Decoded) -> None:
        """Take note of a part that was decoded."""
        rows = zip(map(os.fsencode, part.names), found.seen, strict=True)
        with self.changes():
            self._insert(part.number + 1, 0, iter(found.facts))
            self.database.executemany(
                "INSERT OR IGNORE INTO looked VALUES (?, ?, ?, ?)", ((name, *seen) for name, seen in rows)
            )

    def look_at(self, paths: Sequence[Path]) -> list[Seen]:
        """What the machine that looked at each file has found."""
        query = "SELECT digest, kind, reason FROM looked WHERE name = ?"
        names = [os.fsencode(path.absolute()) for path in paths]
        return [Seen(*self.database.execute(query, (name,)).fetchone()) for name in names]

    def pixels(self, digests: Sequence[bytes]) -> Images:
        """The images of files that were looked at, uint8 (n, S, S, 3)."""
        query = "SELECT place, row FROM facts WHERE digest = ?"
        rows = (self.database.execute(query, (digest,)).fetchone() for digest in digests)
        return gather(_places(rows), self.size, self._decoded)

    def shard(self, split: str, number: int, count: int) -> Places:
        """The places of the images of a shard."""
        query = (
            "SELECT place, row FROM kept JOIN facts USING (digest) WHERE kept.part = ? AND rank % ? = ? "
            "ORDER BY rank"
        )
        return _places(self.database.execute(query, (SPLITS.index(split), count, number)))


def _places(rows: Iterable[tuple[int, int]]) -> Places:
    """Places as the store's database has them, whose own images are those of place 0."""
    found: Places = np.fromiter(rows, np.dtype((np.int64, 2)))
    found[:, 0] -= 1
    return found


def _write_shards(store: ClusterStore, meta: dict[str, Any], how: Decoding) -> Manifest:
    """Have the shards written; the manifest comes last, so that shards which are not complete are none."""
    target, split = Folder(how.target), PRETRAIN if PRETRAIN in meta["splits"] else "train"
    about = meta["splits"][split]
    count = shard_count(about["images"], how.size)
    target.remove(MANIFEST)
    work = ((number, store.shard(split, number, count), how) for number in range(count))
    found = dict(_done(write_shard, work, count, "writing shards"))
    written = [found[number] for number in range(count)]
    shards = tuple(Shard(**one["shard"]) for one in written)
    manifest = Manifest(about["images"], how.size, about["images_sha256"], shards)
    index = written[0]["index"] | {"chunks": [one["index"]["chunks"][0] for one in written]}
    target.write(INDEX, json.dumps(index).encode())
    for file in set(target.files()) - {INDEX, *(shard.name for shard in shards)}:
        if not file.startswith(f"{DECODED}/"):
            target.remove(file)  # a shard of more images that lay here before
    target.write(MANIFEST, json.dumps({"format": FORMAT, **asdict(manifest)}).encode())
    return manifest


def _done(
    function: Callable[..., Any], work: Iterable[tuple[Any, ...]], count: int, what: str
) -> Iterator[tuple[int, Any]]:
    """`on_cluster`, with a progress bar of that name for so many pieces."""
    with StepProgress(what, count, done=0, line_every=max(1, count // LINES)) as progress:
        for found in on_cluster(function, work):
            yield found
            progress.advance()
