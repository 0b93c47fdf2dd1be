"""Images of shards: only those that the order reads now and soon are mapped, and on this machine."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import numpy as np
import numpy.typing as npt

from infocl.prepared.shards import FETCHERS, Pixels, ShardFiles, by_shard
from infocl.pretrain.loading.prefetch import Fill
from infocl.pretrain.loading.sampler import Order, Window
from infocl.runtime.errors import UserError


class ShardedImages:
    """Images dealt out to shards, of which those of a few windows are at hand.

    Copies of a bucket's shards stay on this disk where it has room for all; otherwise each goes when its
    window is over, and comes again in the next epoch.

    Args:
        files: the shards.
        order: that the images are read in.

    Raises:
        UserError: the order shuffles all images together and this disk has no room for all copies.
    """

    def __init__(self, files: ShardFiles, order: Order) -> None:
        side = files.manifest.image_size
        self.shape: tuple[int, ...] = (side, side, 3)
        self._files, self._order = files, order
        if not order.shards and not files.keep:
            raise UserError(
                f"train.shuffle global reads all shards at once, but the {files.manifest.size / 2**30:.1f} "
                f"GiB of {files.place.url} do not fit this disk; set train.shuffle to shards"
            )
        self._pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="shards")
        self._maps: dict[int, Future[Pixels]] = {}
        self._windows: tuple[Window, ...] | None = None

    def plan(self, rows: npt.NDArray[np.int64], windows: tuple[Window, ...]) -> Fill:
        """What writes the images `rows` into an array (n, H, W, 3); begins to fetch what comes next."""
        if windows and windows != self._windows:
            self._windows = windows
            self._have(windows)
        parts = [
            (self._map(number), chosen, places)
            for number, chosen, places in by_shard(rows, len(self._files.manifest.shards))
        ]

        def fill(out: npt.NDArray[np.uint8]) -> None:
            flat = out.reshape(len(rows), -1)
            for pixels, chosen, places in parts:
                flat[chosen] = pixels.result()[places]

        return fill

    def close(self) -> None:
        """Stop fetching; the maps go with the last batch."""
        self._pool.shutdown(cancel_futures=True)
        self._maps.clear()

    def _have(self, windows: tuple[Window, ...]) -> None:
        if not self._order.shards:
            soon = list(range(len(self._files.manifest.shards)))
        else:
            soon = list(chain.from_iterable(self._order.shards_of(window).tolist() for window in windows))
        for number in self._maps.keys() - set(soon):
            past = self._maps.pop(number)
            past.add_done_callback(lambda _, number=number: self._files.discard(number))  # type: ignore[misc]
        for number in soon:
            self._map(number)

    def _map(self, number: int) -> Future[Pixels]:
        if number not in self._maps:
            self._maps[number] = self._pool.submit(self._files.pixels, number)
        return self._maps[number]
