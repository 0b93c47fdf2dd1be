"""Residual networks that return pooled features of their last three levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from infocl.config import EncoderParams
from infocl.encoder.blocks import BasicBlock, Bottleneck, shortcut


class Architecture(NamedTuple):
    """Block type and blocks per level (He et al. 2016, table 1)."""

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": Architecture(BasicBlock, (2, 2, 2, 2)),
    "resnet34": Architecture(BasicBlock, (3, 4, 6, 3)),
    "resnet50": Architecture(Bottleneck, (3, 4, 6, 3)),
}


class Levels(NamedTuple):
    """Globally average-pooled features of the encoder's levels 2, 3 and 4, each (B, D_l)."""

    level2: Tensor
    level3: Tensor
    level4: Tensor


# Mean and standard deviation of each channel that pixels are normalised by, where not the training images'.
FIXED_STATISTICS = {
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Encoder(nn.Module):
    """A ResNet on images in [0, 1]; normalisation is part of it, so no caller can get it wrong.

    Args:
        params: architecture, stem, width multiplier, initial weights, and what pixels are normalised by.
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images, above 0.

    Reference: He et al., "Deep Residual Learning", CVPR 2016. Stems: `cifar` (3x3, stride 1, no
    pool) as in SimCLR's CIFAR runs; `stl` (3x3, stride 2, no pool) as in Wang et al., CVPR 2022, on STL-10;
    `imagenet` the original.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, params: EncoderParams, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.params = params
        mean, std = FIXED_STATISTICS.get(params.normalization, (mean, std))
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, 3, 1, 1))
        block, depths = ARCHITECTURES[params.arch]
        widths = [max(8, round(64 * 2**level * params.width)) for level in range(4)]
        self.stem = _stem(params.stem, widths[0])
        self.levels = nn.ModuleList()
        channels = widths[0]
        for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            self.levels.append(_level(block, channels, width, depth, stride=1 if level == 0 else 2))
            channels = width * block.expansion
        self.level_dims: tuple[int, ...] = tuple(width * block.expansion for width in widths[1:])
        if params.init == "he":
            self.apply(_initialise)

    @property
    def dim(self) -> int:
        """Width D of the representation."""
        return self.level_dims[-1]

    def normalize(self, images: Tensor) -> Tensor:
        """Standardise images in [0, 1], (B, 3, H, W), by the statistics that `normalization` names."""
        return (images - self.mean) / self.std

    def forward_levels(self, images: Tensor) -> Levels:
        """Pooled features of levels 2 to 4 of normalised images (B, 3, H, W)."""
        maps = self.levels[0](self.stem(images))
        pooled = []
        for level in list(self.levels)[1:]:
            maps = level(maps)
            pooled.append(maps.mean(dim=(2, 3)))
        return Levels(*pooled)

    def forward(self, images: Tensor) -> Tensor:
        """Representation (B, D) of images in [0, 1], (B, 3, H, W)."""
        return self.forward_levels(self.normalize(images)).level4


def _stem(name: str, width: int) -> nn.Sequential:
    kernel, stride = (7, 2) if name == "imagenet" else (3, 2 if name == "stl" else 1)
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    if name == "imagenet":
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return nn.Sequential(*layers)


def _level(
    block: type[BasicBlock] | type[Bottleneck], channels: int, width: int, depth: int, *, stride: int
) -> nn.Sequential:
    out = width * block.expansion
    first = block(channels, width, stride, shortcut(channels, out, stride))
    return nn.Sequential(first, *(block(out, width) for _ in range(depth - 1)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
