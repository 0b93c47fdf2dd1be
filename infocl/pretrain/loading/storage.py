"""Where images lie while an encoder is trained: on the device, on disk or in shards; batches are the same."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from infocl.config import Params, TrainParams
from infocl.prepared.reader import Prepared
from infocl.prepared.shards import open_shards, shard_count
from infocl.pretrain.loading.memmap import MappedImages
from infocl.pretrain.loading.prefetch import PrefetchedImages
from infocl.pretrain.loading.resident import ResidentImages
from infocl.pretrain.loading.sampler import CPU, Order
from infocl.pretrain.loading.sharded import ShardedImages
from infocl.pretrain.parallel.process_group import ProcessGroup
from infocl.runtime.device import describe_device, free_memory
from infocl.runtime.errors import UserError

RESIDENT_SHARE = 0.5  # of free memory that images may take; the rest is for the encoder and its activations
RULE = "resident up to half of what is free"
Storage = Literal["resident", "mapped", "sharded"]


class Images(Protocol):
    """Batches of a data set, the same wherever it lies."""

    order: Order

    def batch(self, step: int) -> tuple[Tensor, Tensor | None]:
        """This process's uint8 images (b, H, W, 3) of a step, and the labels (B,) of the whole batch.

        Steps are counted from the start of training; reading them one after another is fastest.
        """

    def sample(self, rows: range) -> Tensor:
        """Chosen images, uint8 (n, H, W, 3)."""

    def close(self) -> None:
        """Let go of files and threads."""


@dataclass(frozen=True)
class StorageChoice:
    """A storage and why it was taken.

    Attributes:
        storage: what was chosen.
        size: bytes of all images.
        free: bytes that are free where they would be resident.
        device: where that is.
        where: the file or the shards that are read otherwise.
    """

    storage: Storage
    size: int
    free: int
    device: torch.device
    where: str

    def __str__(self) -> str:
        size, device = in_binary_units(self.size), describe_device(self.device)
        free = f"{in_binary_units(self.free)} free"
        if self.storage == "resident":
            return f"{size}, resident on {device} ({free})"
        kind = "memory-mapped from" if self.storage == "mapped" else "streamed from the shards in"
        return f"{size}, {kind} {self.where} ({free} on {device})"


def choose_storage(
    train: TrainParams, size: int, file: str, *, there: bool, device: torch.device, copies: int
) -> StorageChoice:
    """Follow `train.storage`, or take the first of resident, mapped and sharded that serves.

    Args:
        train: the section of the params.
        size: bytes of all images.
        file: the prepared images.
        there: whether that file is on this machine.
        device: where images would be resident.
        copies: how many processes share its memory.

    Raises:
        UserError: the device does not hold the images that shall be resident.
    """
    free = free_memory(device)
    storage = train.storage
    if storage == "resident" and size * copies > free:
        raise UserError(
            f"train.storage resident needs {in_binary_units(size * copies)}, but {describe_device(device)} "
            f"has {in_binary_units(free)} free; set it to auto"
        )
    if storage == "auto":
        if not there and train.shards:
            storage = "sharded"
        else:
            storage = "resident" if size * copies <= RESIDENT_SHARE * free else "mapped"
    return StorageChoice(storage, size, free, device, train.shards if storage == "sharded" else file)


def storage_for(params: Params, prepared: Prepared, device: torch.device, copies: int) -> StorageChoice:
    """The storage for a prepared data set."""
    file = prepared.images_file(prepared.pretrain_name)
    return choose_storage(
        params.train, prepared.pretrain_bytes, str(file), there=file.exists(), device=device, copies=copies
    )


def open_images(params: Params, prepared: Prepared, group: ProcessGroup, device: torch.device) -> Images:
    """The images that pretraining sees, in batches; says in one line where they lie.

    Raises:
        UserError: they are missing or damaged, or the shards hold others.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", group.size))
    choice = storage_for(params, prepared, device, here if device.type == "cpu" else 1)
    if group.first:
        print(f"Images: {choice}", file=sys.stderr)
    name, train = prepared.pretrain_name, params.train
    count, labels = prepared.count(name), prepared.labels(name)
    shards = shard_count(count, prepared.image_size) if train.shuffle == "shards" else 0
    resident = choice.storage == "resident"
    order = Order(count, train.batch_size, params.seed, shards, device if resident else CPU)
    if resident:
        return ResidentImages(prepared.pretrain.images, labels, order, device, group)
    if choice.storage == "mapped":
        fits = choice.size <= RESIDENT_SHARE * free_memory(CPU)
        source: MappedImages | ShardedImages = MappedImages(prepared.pretrain.images, fits=fits)
    else:
        files = open_shards(train.shards, prepared.images_sha256(name), prepared.folder)
        source = ShardedImages(files, order)
    return PrefetchedImages(source, labels, order, train.epochs * order.batches_per_epoch, device, group)


def in_binary_units(size: int) -> str:
    """A number of bytes as memory is counted, such as "184.0 MiB"."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
