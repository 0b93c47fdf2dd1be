"""Prepared images as shards: LitData's files, the manifest that ties them to the images, and their rows."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infocl.prepared.places import Bucket, Location, location_of
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, sha256_file
from infocl.runtime.paths import SHARDS

MANIFEST, INDEX = "infocl.json", "index.json"
FORMAT = 1
REWRITE = "write the shards again with `infocl shard`"
SHARD_BYTES = 32 << 20  # of pixels in a shard, at most
ATTEMPTS = 5  # to map a copy that other processes remove
CACHE_SHARE = 0.8  # of the disk that copies may take, if they are to stay
FETCHERS = 4  # threads that download and check
Pixels = npt.NDArray[np.uint8]


def shard_count(images: int, image_size: int) -> int:
    """How many shards hold so many images of `image_size` px; image r lies in shard r mod that number.

    Dealing them out like cards makes each shard a sample of the whole, however the images are sorted.
    """
    per_shard = max(1, SHARD_BYTES // (3 * image_size**2))
    return -(-images // per_shard)


def by_shard(
    rows: npt.NDArray[np.int64], shards: int
) -> list[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """The shards that chosen images lie in: number, which of `rows` these are, and their places there."""
    shard, place = rows % shards, rows // shards
    order = np.argsort(shard, kind="stable")
    needed, starts = np.unique(shard[order], return_index=True)
    parts = np.split(order, starts[1:])
    return [(int(number), chosen, place[chosen]) for number, chosen in zip(needed, parts, strict=True)]


@dataclass(frozen=True)
class Shard:
    """One file: its name, its size in bytes, the SHA-256 of its content."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What the shards hold: image r is number r // len(shards) of shard r mod len(shards)."""

    images: int
    image_size: int
    images_sha256: str
    shards: tuple[Shard, ...]

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size for shard in self.shards)

    def pixels(self, number: int) -> int:
        """Bytes of pixels in a shard, which are the end of its file."""
        return len(range(number, self.images, len(self.shards))) * 3 * self.image_size**2


def read_manifest(place: Location) -> Manifest:
    """Read what the shards at a place hold.

    Raises:
        UserError: there are none, the place cannot be reached, or the manifest is damaged.
    """
    where = f"{place.url.rstrip('/')}/{MANIFEST}"
    about = read_json(place.fetch(MANIFEST, anew=True), REWRITE)
    if about.get("format") != FORMAT:
        raise UserError(f"{where} has format {about.get('format')!r}, not {FORMAT}; {REWRITE}")
    try:
        shards = tuple(Shard(**shard) for shard in about["shards"])
        manifest = Manifest(about["images"], about["image_size"], about["images_sha256"], shards)
        fits = len(shards) == shard_count(manifest.images, manifest.image_size) and all(
            Path(s.name).name == s.name and s.size >= manifest.pixels(number)
            for number, s in enumerate(shards)
        )
    except (KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise UserError(f"{where} is damaged or of another version; {REWRITE}")
    return manifest


class ShardFiles:
    """Shards at a place: fetched, checked at their first use, and mapped.

    Copies of a bucket's shards stay on this disk where it has room for all.

    Args:
        place: where they lie.
        manifest: what they hold.
    """

    def __init__(self, place: Location, manifest: Manifest) -> None:
        self.place, self.manifest = place, manifest
        self.keep = not isinstance(place, Bucket) or has_room(place, manifest)
        self._checked: set[int] = set()

    def pixels(self, number: int) -> Pixels:
        """The images of a shard, uint8 (n, H * W * 3), mapped.

        Raises:
            UserError: it is not there, cannot be reached, or is corrupt.
        """
        for _ in range(ATTEMPTS):
            try:
                return self._mapped(number)
            except FileNotFoundError:  # another process, done with it, removed the copy in between
                continue
        raise UserError(f"copies in {SHARDS} vanish while they are read; run again to continue")

    def discard(self, number: int) -> None:
        """Remove this machine's copy of a shard, unless copies stay; those who have it mapped keep it."""
        if not self.keep:
            self.place.discard(self.manifest.shards[number].name)

    def each(self, numbers: Iterable[int]) -> Iterator[tuple[int, Pixels]]:
        """Chosen shards, one after the other, with their numbers; the next ones are fetched meanwhile."""
        waiting, ahead = iter(numbers), deque[tuple[int, Any]]()
        with ThreadPoolExecutor(FETCHERS, thread_name_prefix="shards") as pool:
            while True:
                for number in islice(waiting, FETCHERS - len(ahead)):
                    ahead.append((number, pool.submit(self.pixels, number)))
                if not ahead:
                    return
                number, found = ahead.popleft()
                yield number, found.result()
                self.discard(number)

    def _mapped(self, number: int) -> Pixels:
        shard = self.manifest.shards[number]
        file = self.place.fetch(shard.name)
        if number not in self._checked:
            if not _intact(file, shard) and self.place.discard(shard.name):
                file = self.place.fetch(shard.name)
            if not _intact(file, shard):
                raise UserError(f"{self.place.url}/{shard.name} is corrupt; {REWRITE}")
            self._checked.add(number)
        pixels = self.manifest.pixels(number)
        images: Pixels = np.memmap(file, np.uint8, "r", shard.size - pixels)
        return images.reshape(-1, 3 * self.manifest.image_size**2)


def _intact(file: Path, shard: Shard) -> bool:
    return file.stat().st_size == shard.size and sha256_file(file) == shard.sha256


def has_room(bucket: Bucket, manifest: Manifest) -> bool:
    """Whether copies of all shards may stay on this disk."""
    bucket.cache.mkdir(parents=True, exist_ok=True)
    there = sum(file.stat().st_size for file in bucket.cache.glob("*.bin"))
    return manifest.size <= CACHE_SHARE * (shutil.disk_usage(bucket.cache).free + there)


def open_shards(url: str, images_sha256: str, prepared: Path) -> ShardFiles:
    """The shards at a folder or `s3://bucket/prefix` that hold the images of a prepared set.

    Args:
        url: where they lie.
        images_sha256: of the images, as written at preparation.
        prepared: the folder of that set.

    Raises:
        UserError: they are missing or damaged, or hold other images.
    """
    place = location_of(url)
    manifest = read_manifest(place)
    if manifest.images_sha256 != images_sha256:
        raise UserError(
            f"the shards in {place.url} hold other images than {prepared}; write them again "
            f"(infocl shard {place.url}), or correct train.shards"
        )
    return ShardFiles(place, manifest)


class ShardedRows:
    """Images of shards in the place of an array, uint8 (N, S, S, 3), of which rows are read."""

    def __init__(self, files: ShardFiles) -> None:
        self._files, about = files, files.manifest
        self.shape: tuple[int, ...] = (about.images, about.image_size, about.image_size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Pixels:
        """Chosen images; each shard that holds some of them is fetched once."""
        wanted = np.arange(len(self))[rows]
        parts = {
            number: (chosen, places)
            for number, chosen, places in by_shard(wanted, len(self._files.manifest.shards))
        }
        images = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        flat = images.reshape(len(wanted), -1)
        for number, pixels in self._files.each(parts):
            chosen, places = parts[number]
            flat[chosen] = pixels[places]
        return images

    def parts(self, most: int) -> Iterator[tuple[slice, Pixels]]:
        """All images with their rows, at most so many at a time, shard by shard."""
        count = len(self._files.manifest.shards)
        for number, pixels in self._files.each(range(count)):
            for start in range(0, len(pixels), most):
                part = np.array(pixels[start : start + most]).reshape(-1, *self.shape[1:])
                first = number + start * count
                yield slice(first, first + len(part) * count, count), part
