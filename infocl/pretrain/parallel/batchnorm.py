"""BatchNorm whose statistics are those of the whole batch, wherever its images are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from infocl.encoder.numerics import at_least_float32
from infocl.pretrain.parallel.process_group import ProcessGroup


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over all processes, on any device and in any precision.

    PyTorch's own works on accelerators only. Names, statistics and state are those of
    `nn.BatchNorm2d`: mean and biased variance of the whole batch normalise it; the running variance
    takes the unbiased one.

    Args:
        layer: whose weights and statistics are taken over.
        group: the processes; each must hold as many values as the others.
    """

    def __init__(self, layer: _BatchNorm, group: ProcessGroup) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, layer.affine)
        self.group = group
        self.weight, self.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers(recurse=False):
            setattr(self, name, buffer)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected (B, C, ...), not {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...)."""
        if not self.training:
            return super().forward(input)
        values = at_least_float32(input)
        others = [dim for dim in range(input.ndim) if dim != 1]
        mean = self.group.mean(values.mean(others, keepdim=True))
        centred = values - mean
        variance = self.group.mean(centred.square().mean(others, keepdim=True))
        self._track(mean.detach().flatten(), variance.detach().flatten(), input.numel() // input.shape[1])
        normal = centred * (variance + self.eps).rsqrt()
        if self.affine:
            shape = [1, -1] + [1] * (input.ndim - 2)
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        whole = count * self.group.size
        share = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * whole / (whole - 1)).to(self.running_var.dtype), share)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def synchronize(module: nn.Module, group: ProcessGroup, device: torch.device) -> nn.Module:
    """`module` with every BatchNorm layer replaced by one that sees the whole batch.

    On CUDA these are PyTorch's, elsewhere ours; weights, statistics and their names stay.
    """
    if group.size == 1:
        return module
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, SyncBatchNorm(child, group))
    return module
