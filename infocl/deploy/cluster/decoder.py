"""What one process of the cluster does to prepare images: decode a part of the files, write a shard."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infocl.config import Bits, Crop
from infocl.data.store import Fact, PixelStore, Seen, decoder_of
from infocl.deploy.cluster.storage import Folder
from infocl.prepared.sharding import shard_files
from infocl.prepared.shards import INDEX
from infocl.runtime.errors import UserError, one_line

DECODED = "decoded"  # the folder below the target that lasts until the shards are complete
READERS = 8  # stretches of decoded images that are read at a time
Places = npt.NDArray[np.int64]  # (N, 2): the part of each image, and its row there


class Decoding(NamedTuple):
    """How files become images, and where these go; the fields are those of `PixelStore`."""

    target: str
    size: int
    crop: Crop
    bits: Bits
    background: str

    @property
    def folder(self) -> Folder:
        """Where decoded images lie."""
        return Folder(f"{self.target.rstrip('/')}/{DECODED}")

    def store(self, place: Path) -> PixelStore:
        """A store that decodes so."""
        return PixelStore(place, self.size, crop=self.crop, bits=self.bits, background=self.background)


class Decoded(NamedTuple):
    """What a part's files are: one `Seen` for each, and the facts of each image, in the order of its rows."""

    seen: list[Seen]
    facts: list[Fact]


def decode_part(number: int, names: list[str], how: Decoding) -> Decoded | str:
    """Decode the files of a part, unless that was done and none has changed since; or say what went wrong."""
    try:
        key = _key(names, how)
        done = _known(number, key, how.folder)
        return done or _decode(number, key, names, how)
    except (UserError, OSError) as error:
        return one_line(error)


def _key(names: Sequence[str], how: Decoding) -> str:
    """A hash of all that decides what comes out; a file that was replaced has another time or size."""
    states = [_state(name) for name in names]
    made_by = f"{decoder_of(how.bits, how.background)}, {how.size} px, {how.crop}"
    return sha256(json.dumps([made_by, *zip(names, states, strict=True)]).encode()).hexdigest()


def _state(name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - a Path for each file costs more
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _known(number: int, key: str, folder: Folder) -> Decoded | None:
    try:
        with folder.open(f"{number:08}.json") as stream:
            about = json.loads(stream.read())
    except (FileNotFoundError, ValueError):
        return None
    if about["key"] != key:
        return None
    seen = [Seen(digest and bytes.fromhex(digest), *why) for digest, *why in about["seen"]]
    facts = [
        Fact(bytes.fromhex(digest), width, height, contrast, bytes.fromhex(pixels), peak)
        for digest, width, height, contrast, pixels, peak in about["facts"]
    ]
    return Decoded(seen, facts)


def _decode(number: int, key: str, names: Sequence[str], how: Decoding) -> Decoded:
    with tempfile.TemporaryDirectory() as place, how.store(Path(place) / "store") as store:
        seen = store.look_at([Path(name) for name in names])
        facts = store.facts()
        pixels = store.pixels([fact.digest for fact in facts])
    about = {
        "key": key,
        "seen": [(one.digest and one.digest.hex(), *one[1:]) for one in seen],
        "facts": [(fact.digest.hex(), *fact[1:4], fact.pixels.hex(), fact.peak) for fact in facts],
    }
    how.folder.write(f"{number:08}.bin", pixels.tobytes())
    how.folder.write(f"{number:08}.json", json.dumps(about).encode())  # last: what it names is there
    return Decoded(seen, facts)


def gather(places: Places, size: int, folder: Folder) -> npt.NDArray[np.uint8]:
    """Decoded images by their places, uint8 (N, S, S, 3)."""
    row = 3 * size * size
    images = np.empty((len(places), size, size, 3), np.uint8)
    flat = images.reshape(len(places), row)

    def read(stretch: range) -> None:
        part, first = places[stretch.start].tolist()
        with folder.open(f"{part:08}.bin") as stream:
            content = stream.read_at(row * len(stretch), row * first)
        flat[stretch.start : stretch.stop] = np.frombuffer(content, np.uint8).reshape(-1, row)

    with ThreadPoolExecutor(READERS) as pool:
        for _ in pool.map(read, _stretches(places)):
            pass
    return images


def _stretches(places: Places) -> Iterator[range]:
    """Runs of images that follow one another in a part."""
    breaks = np.flatnonzero((np.diff(places, axis=0) != (0, 1)).any(axis=1)) + 1
    ends = [*breaks.tolist(), len(places)]
    return (range(start, stop) for start, stop in zip([0, *ends], ends, strict=False) if stop > start)


def write_shard(number: int, places: Places, how: Decoding) -> dict[str, Any] | str:
    """Write a shard of decoded images; what the manifest and the index say of it, or what went wrong."""
    try:
        content = gather(places, how.size, how.folder).tobytes()
        with tempfile.TemporaryDirectory() as place:
            (file,) = shard_files(Path(place), [content], 1)
            written = file.read_bytes()
            index = json.loads((Path(place) / INDEX).read_text())
        name = f"chunk-0-{number}.bin"
        Folder(how.target).write(name, written)
    except (UserError, OSError) as error:
        return one_line(error)
    index["chunks"][0]["filename"] = name
    about = {"name": name, "size": len(written), "sha256": sha256(written).hexdigest()}
    return {"shard": about, "index": index}
