"""The processes of one run: what each holds of a batch, and how all come to see the whole of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from infocl.runtime.device import choose_device
from infocl.runtime.errors import InfoCLError

PATIENCE = 5.0  # seconds in which the process that ended can be the one that says why
FROM_LAUNCHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class ProcessGroup:
    """`size` processes, of which this is number `rank`; with one, nothing is ever sent.

    Every process computes the objective and the regulariser on the features of the whole batch, so
    each has the same loss, but only its own share of images passed its encoder. Gradients flow back
    through `gather` and `mean` such that their average over processes, which DistributedDataParallel
    takes, is the gradient of that loss with respect to the one set of weights.

    Attributes:
        rank: 0..size - 1; number 0 writes files and speaks.
        size: processes in all.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def once(self, error: InfoCLError) -> BaseException:
        """What to raise for an error that every process meets: only the first says it."""
        return error if self.first else SystemExit(error.exit_code)

    def share(self, count: int) -> slice:
        """Where this process's share lies in a batch of `count`, a multiple of `size`."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def gather(self, own: Tensor) -> Tensor:
        """All processes' tensors (b, ...) one below the other, (size * b, ...), with gradient."""
        if self.size == 1:
            return own
        whole: Tensor = _Gather.apply(own, self)
        return whole

    def gather_views(self, own: Sequence[Tensor], views: int) -> list[Tensor]:
        """Tensors (views * b, D_k), view 1 above view 2, as (views * size * b, D_k) likewise, in one go."""
        if self.size == 1:
            return list(own)
        by_image = torch.cat(list(own), dim=1).view(views, len(own[0]) // views, -1).transpose(0, 1)
        whole = self.gather(by_image.contiguous()).transpose(0, 1).flatten(0, 1)
        return list(torch.split(whole, [tensor.shape[1] for tensor in own], dim=1))

    def mean(self, own: Tensor) -> Tensor:
        """The mean of all processes' tensors of one shape, with gradient."""
        if self.size == 1:
            return own
        mean: Tensor = _Mean.apply(own, self.size)
        return mean

    def agree(self, number: int) -> int:
        """The number that process 0 says."""
        if self.size == 1:
            return number
        shared = torch.tensor([number], device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.broadcast(shared, src=0)
        return int(shared.item())


ALONE = ProcessGroup()


class _Gather(Function):
    """Backward: the sum of all processes' gradients, of which each takes its own rows."""

    @staticmethod
    def forward(context: Any, own: Tensor, group: ProcessGroup) -> Tensor:
        context.group, context.rows = group, len(own)
        parts = [torch.empty_like(own) for _ in range(group.size)]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed[context.group.share(len(summed))], None


class _Mean(Function):
    """Backward: the mean of all processes' gradients."""

    @staticmethod
    def forward(context: Any, own: Tensor, size: int) -> Tensor:
        context.size = size
        summed = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed / size

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed / context.size, None


def launched() -> bool:
    """Whether a launcher (`torchrun`, Kubernetes' PyTorchJob, ...) started this process as one of several."""
    return all(name in os.environ for name in FROM_LAUNCHER)


def local_rank() -> int:
    """This process's number among those of its machine, which is also that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def own_device(name: str) -> torch.device:
    """The same for one of several processes: of CUDA devices, each takes the one of its number."""
    if not launched():
        return choose_device(name)
    device = choose_device(name, local_rank() + 1)
    return torch.device("cuda", local_rank()) if device.type == "cuda" else device


@contextmanager
def joined(device: torch.device) -> Iterator[ProcessGroup]:
    """The world that the launcher's environment describes; one process where there was no launcher.

    Args:
        device: of this process; CUDA devices talk by NCCL, CPUs by Gloo.

    Raises:
        InfoCLError: another process ended in between.
    """
    if not launched():
        yield ALONE
        return
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size())
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "/gloo/" in str(error):
            time.sleep(PATIENCE)
            raise InfoCLError(
                f"process {dist.get_rank()} no longer reaches the others: one of them ended"
            ) from None
        raise
    finally:
        dist.destroy_process_group()
