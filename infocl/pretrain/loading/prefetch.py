"""Batches of images that do not fit the device, gathered by threads while earlier ones are trained on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infocl.pretrain.loading.sampler import Order, Window
from infocl.pretrain.parallel.process_group import ALONE, ProcessGroup

READERS = 4  # threads, so that a disk has several requests to serve
AHEAD = 4  # batches that are ready or being gathered
Fill = Callable[[npt.NDArray[np.uint8]], None]


class Source(Protocol):
    """Where the images lie."""

    shape: tuple[int, ...]  # of an image: H, W, 3

    def plan(self, rows: npt.NDArray[np.int64], windows: tuple[Window, ...]) -> Fill:
        """What writes the images `rows` into an array (n, H, W, 3), in any thread.

        Args:
            rows: int64 (n,).
            windows: what the order reads now and soon.
        """

    def close(self) -> None:
        """Let go of files and threads."""


class _Loaded(NamedTuple):
    images: Tensor
    labels: Tensor | None
    copied: torch.cuda.Event | None  # when the copy to the device is done; None on the CPU


class PrefetchedImages:
    """A split that stays where it is, in batches of a given order, a few of them ahead.

    On CUDA the threads gather into pinned memory and copy on a stream of their own.

    Args:
        source: of the images.
        labels: classes int64 (N,), or None.
        order: of the images; its rows lie on the CPU.
        steps: of the whole run, beyond which nothing is read.
        device: where batches go.
        group: the processes that share each batch.
    """

    def __init__(
        self,
        source: Source,
        labels: npt.NDArray[np.int64] | None,
        order: Order,
        steps: int,
        device: torch.device,
        group: ProcessGroup = ALONE,
    ) -> None:
        self.source, self.order, self.device, self.group = source, order, device, group
        self._labels = None if labels is None else torch.from_numpy(labels)
        self._steps = steps
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="images")
        self._waiting: deque[tuple[int, Future[_Loaded]]] = deque()

    def batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        """This process's uint8 images (b, H, W, 3) of a step, and the labels (B,) of the whole batch."""
        if not self._waiting or self._waiting[0][0] != step:
            self._drop()
            self._start(step)
        _, future = self._waiting.popleft()
        for following in range(step + len(self._waiting) + 1, min(self._steps, step + AHEAD + 1)):
            self._start(following)
        loaded = future.result()
        if loaded.copied is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(loaded.copied)
            for tensor in (loaded.images, loaded.labels):
                if tensor is not None:
                    tensor.record_stream(current)
        return loaded.images, loaded.labels

    def sample(self, rows: range) -> Tensor:
        """Chosen images, uint8 (n, H, W, 3)."""
        images = torch.empty((len(rows), *self.source.shape), dtype=torch.uint8)
        self.source.plan(np.array(rows), ())(images.numpy())
        return images.to(self.device)

    def close(self) -> None:
        """Stop the threads and let go of the files."""
        self._drop()
        self._pool.shutdown()
        self.source.close()

    def _drop(self) -> None:
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()

    def _start(self, step: int) -> None:
        chosen = self.order.rows(step)
        own = chosen[self.group.share(len(chosen))].numpy()
        soon = min(self._steps - 1, step + self.order.batches_per_window)
        fill = self.source.plan(own, self.order.windows(step, max(step, soon)))
        self._waiting.append((step, self._pool.submit(self._load, fill, len(own), chosen)))

    def _load(self, fill: Fill, count: int, chosen: Tensor) -> _Loaded:
        shape = (count, *self.source.shape)
        if self._copying is None:
            images = torch.empty(shape, dtype=torch.uint8)
            fill(images.numpy())
            return _Loaded(images, None if self._labels is None else self._labels[chosen], None)
        with torch.cuda.stream(self._copying):
            images = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
            fill(images.numpy())
            labels = None if self._labels is None else self._labels[chosen].pin_memory()
            return _Loaded(
                images.to(self.device, non_blocking=True),
                None if labels is None else labels.to(self.device, non_blocking=True),
                self._copying.record_event(),
            )
