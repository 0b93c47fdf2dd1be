"""Images of shards: only those that the order reads now and soon are mapped, and on this machine."""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from infocl.pretrain.loading.places import Bucket, Location
from infocl.pretrain.loading.prefetch import Fill
from infocl.pretrain.loading.sampler import Order, Window
from infocl.pretrain.loading.shards import REWRITE, Manifest, Shard
from infocl.runtime.errors import UserError
from infocl.runtime.files import sha256_file
from infocl.runtime.paths import SHARDS

FETCHERS = 4  # threads that download and check
ATTEMPTS = 5  # to map a copy that other processes remove
CACHE_SHARE = 0.8  # of the disk that copies may take, if they are to stay
Rows = npt.NDArray[np.uint8]


class ShardedImages:
    """Images dealt out to shards, of which those of a few windows are at hand.

    Copies of a bucket's shards stay on this disk where it has room for all; otherwise each goes when its
    window is over, and comes again in the next epoch.

    Args:
        place: where the shards lie.
        manifest: what they hold.
        order: that the images are read in.

    Raises:
        UserError: the order shuffles all images together and this disk has no room for all copies.
    """

    def __init__(self, place: Location, manifest: Manifest, order: Order) -> None:
        self.shape = (manifest.image_size, manifest.image_size, 3)
        self._place, self._manifest, self._order = place, manifest, order
        self._keep = not isinstance(place, Bucket) or has_room(place, manifest)
        if not order.shards and not self._keep:
            raise UserError(
                f"train.shuffle global reads all shards at once, but the {manifest.size / 2**30:.1f} GiB of "
                f"{place.url} do not fit this disk; set train.shuffle to shards"
            )
        self._pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="shards")
        self._maps: dict[int, Future[Rows]] = {}
        self._windows: tuple[Window, ...] | None = None
        self._checked: set[int] = set()

    def plan(self, rows: npt.NDArray[np.int64], windows: tuple[Window, ...]) -> Fill:
        """What writes the images `rows` into an array (n, H, W, 3); begins to fetch what comes next."""
        if windows and windows != self._windows:
            self._windows = windows
            self._have(windows)
        shard, place = rows % len(self._manifest.shards), rows // len(self._manifest.shards)
        by_shard = np.argsort(shard, kind="stable")
        needed, starts = np.unique(shard[by_shard], return_index=True)
        parts = [
            (self._map(int(number)), chosen)
            for number, chosen in zip(needed, np.split(by_shard, starts[1:]), strict=True)
        ]

        def fill(out: npt.NDArray[np.uint8]) -> None:
            flat = out.reshape(len(rows), -1)
            for pixels, chosen in parts:
                flat[chosen] = pixels.result()[place[chosen]]

        return fill

    def close(self) -> None:
        """Stop fetching; the maps go with the last batch."""
        self._pool.shutdown(cancel_futures=True)
        self._maps.clear()

    def _have(self, windows: tuple[Window, ...]) -> None:
        if not self._order.shards:
            soon = list(range(len(self._manifest.shards)))
        else:
            soon = list(chain.from_iterable(self._order.shards_of(window).tolist() for window in windows))
        for number in self._maps.keys() - set(soon):
            past = self._maps.pop(number)
            if not self._keep:
                name = self._manifest.shards[number].name
                past.add_done_callback(lambda _, name=name: self._place.discard(name))  # type: ignore[misc]
        for number in soon:
            self._map(number)

    def _map(self, number: int) -> Future[Rows]:
        if number not in self._maps:
            self._maps[number] = self._pool.submit(self._fetch, number)
        return self._maps[number]

    def _fetch(self, number: int) -> Rows:
        """The images of a shard, uint8 (n, H * W * 3), mapped."""
        for _ in range(ATTEMPTS):
            try:
                return self._mapped(number)
            except FileNotFoundError:  # another process, done with its window, removed the copy in between
                continue
        raise UserError(f"copies in {SHARDS} vanish while they are read; run again to continue")

    def _mapped(self, number: int) -> Rows:
        shard = self._manifest.shards[number]
        file = self._place.fetch(shard.name)
        if number not in self._checked:
            if not _intact(file, shard) and self._place.discard(shard.name):
                file = self._place.fetch(shard.name)
            if not _intact(file, shard):
                raise UserError(f"{self._place.url}/{shard.name} is corrupt; {REWRITE}")
            self._checked.add(number)
        pixels = self._manifest.pixels(number)
        images: Rows = np.memmap(file, np.uint8, "r", shard.size - pixels)
        return images.reshape(-1, int(np.prod(self.shape)))


def _intact(file: Path, shard: Shard) -> bool:
    return file.stat().st_size == shard.size and sha256_file(file) == shard.sha256


def has_room(bucket: Bucket, manifest: Manifest) -> bool:
    """Whether copies of all shards may stay on this disk."""
    bucket.cache.mkdir(parents=True, exist_ok=True)
    there = sum(file.stat().st_size for file in bucket.cache.glob("*.bin"))
    return manifest.size <= CACHE_SHARE * (shutil.disk_usage(bucket.cache).free + there)
