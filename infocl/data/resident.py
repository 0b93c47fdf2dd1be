"""Images that live on the device as one uint8 tensor and are indexed there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infocl.numerics import derive_seed
from infocl.parallel.world import ALONE, World

ORDER = 1


class ResidentImages:
    """A whole split on the device, in batches whose order is a pure function of seed and epoch.

    Args:
        images: uint8 (N, H, W, 3), possibly memory-mapped; copied to the device once.
        labels: classes int64 (N,), or None.
        batch_size: images per batch, at most N; the last incomplete batch of an epoch is dropped.
        seed: of the order.
        device: where the images live.
        world: the processes that share each batch.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64] | None,
        batch_size: int,
        seed: int,
        device: torch.device,
        world: World = ALONE,
    ) -> None:
        self.images = torch.from_numpy(np.array(images)).to(device)
        self.labels = None if labels is None else torch.from_numpy(np.array(labels)).to(device)
        self.batch_size = batch_size
        self.seed = seed
        self.world = world
        self.batches_per_epoch = len(images) // batch_size
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        """This process's uint8 images (b, H, W, 3) of a step, and the labels (B,) of the whole batch.

        Steps are counted from the start of training.
        """
        epoch, position = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            self._order, self._epoch = self._permutation(epoch), epoch
        chosen = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        own = chosen[self.world.share(self.batch_size)]
        return self.images[own], None if self.labels is None else self.labels[chosen]

    def _permutation(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, ORDER, epoch))
        return torch.randperm(len(self.images), generator=generator).to(self.images.device)
