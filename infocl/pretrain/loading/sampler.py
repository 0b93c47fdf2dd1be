"""Which images a step sees: a pure function of seed and step, the same wherever the images lie."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from infocl.encoder.numerics import derive_seed
from infocl.runtime.device import sent

ORDER = 1  # purpose of the derived seed
WINDOW_SHARDS = 16  # shards that are shuffled together
CPU = torch.device("cpu")


class Window(NamedTuple):
    """Images that are shuffled together: which of an epoch's windows."""

    epoch: int
    number: int


class Order:
    """The images of every step, shuffled anew in each epoch; an epoch's last incomplete batch is dropped.

    Args:
        count: N images.
        batch_size: images per batch, at most N.
        seed: of the order.
        shards: 0 shuffles all images together. Otherwise images are dealt to so many shards, which are
            put in random order; those of `WINDOW_SHARDS` consecutive ones are shuffled together, so
            that only these need be at hand.
        device: of the rows.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, shards: int = 0, device: torch.device = CPU
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.shards, self.device = shards, device
        self.batches_per_epoch = count // batch_size
        self.batches_per_window = 0 if not shards else -(-count * WINDOW_SHARDS // (shards * batch_size))
        self._sequence = lru_cache(2)(self._draw_sequence)
        self._rows = lru_cache(3)(self._draw_rows)

    def rows(self, step: int) -> Tensor:
        """The images of a step, int64 (B,); steps are counted from the start of training."""
        epoch, position = divmod(step, self.batches_per_epoch)
        start, stop = position * self.batch_size, (position + 1) * self.batch_size
        pieces = []
        for window in self._touched(epoch, start, stop):
            offset = self._bounds(epoch)[window.number]
            pieces.append(self._rows(window)[max(0, start - offset) : stop - offset])
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def windows(self, first: int, last: int) -> tuple[Window, ...]:
        """The windows of the steps from `first` to `last`, in their order."""
        found: dict[Window, None] = {}
        for epoch in range(first // self.batches_per_epoch, last // self.batches_per_epoch + 1):
            here = epoch * self.batches_per_epoch
            start = max(0, first - here) * self.batch_size
            stop = min(self.batches_per_epoch, last + 1 - here) * self.batch_size
            found |= dict.fromkeys(self._touched(epoch, start, stop))
        return tuple(found)

    def shards_of(self, window: Window) -> Tensor:
        """The shards of a window, int64 (at most WINDOW_SHARDS,)."""
        sequence, _ = self._sequence(window.epoch)
        return sequence[window.number * WINDOW_SHARDS : (window.number + 1) * WINDOW_SHARDS]

    def _bounds(self, epoch: int) -> list[int]:
        """Where each window of an epoch begins, and where the last one ends."""
        return self._sequence(epoch)[1] if self.shards else [0, self.count]

    def _touched(self, epoch: int, start: int, stop: int) -> list[Window]:
        bounds = self._bounds(epoch)
        numbers = range(bisect_right(bounds, start) - 1, bisect_right(bounds, stop - 1))
        return [Window(epoch, number) for number in numbers]

    def _draw_sequence(self, epoch: int) -> tuple[Tensor, list[int]]:
        """The order of an epoch's shards, and the bounds of its windows."""
        sequence = torch.randperm(self.shards, generator=self._generator(epoch, 1))
        ends = (self.count // self.shards + (sequence < self.count % self.shards).long()).cumsum(0)
        last = torch.arange(WINDOW_SHARDS, self.shards + WINDOW_SHARDS, WINDOW_SHARDS).clamp(max=self.shards)
        bounds = [0, *ends[last - 1].tolist()]
        return sequence, bounds

    def _draw_rows(self, window: Window) -> Tensor:
        if not self.shards:
            return sent(torch.randperm(self.count, generator=self._generator(window.epoch)), self.device)
        shards = self.shards_of(window).tolist()
        rows = torch.cat([torch.arange(shard, self.count, self.shards) for shard in shards])
        generator = self._generator(window.epoch, 2 + window.number)
        return sent(rows[torch.randperm(len(rows), generator=generator)], self.device)

    def _generator(self, *path: int) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.seed, ORDER, *path))
