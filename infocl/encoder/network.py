"""Residual networks that return pooled features of their last three levels, and their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1

from infocl.config import EncoderParams
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, replacing, sha256_file, write_json
from infocl.runtime.paths import CONFIG_FILE, PRETRAIN, rerun

WEIGHTS_FILE = "encoder.safetensors"
FORMAT = 1
RERUN = rerun("pretrain", PRETRAIN)


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


class Encoder(nn.Module):
    """A ResNet on images in [0, 1]; normalisation is part of it, so no caller can get it wrong.

    Args:
        params: architecture, stem and width multiplier.
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images, above 0.

    Reference: He et al., "Deep Residual Learning", CVPR 2016. Stems: `cifar` (3x3, stride 1, no
    pool) as in SimCLR's CIFAR runs; `stl` (3x3, stride 2, no pool), ours; `imagenet` the original.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, params: EncoderParams, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.params = params
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
        self.apply(_initialise)

    @property
    def dim(self) -> int:
        """Width D of the representation."""
        return self.level_dims[-1]

    def normalize(self, images: Tensor) -> Tensor:
        """Standardise images in [0, 1], (B, 3, H, W), by the training images' statistics."""
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
    shortcut = None
    if stride != 1 or channels != out:
        shortcut = nn.Sequential(conv1x1(channels, out, stride), nn.BatchNorm2d(out))
    first = block(channels, width, stride, shortcut)
    return nn.Sequential(first, *(block(out, width) for _ in range(depth - 1)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def save_encoder(folder: Path, encoder: Encoder, about: Mapping[str, Any]) -> None:
    """Write `encoder.safetensors` and `config.json`, which rebuilds the network and says what it is.

    Args:
        folder: where to write; must exist.
        encoder: the network; its weights are stored in float32.
        about: what else to record (objective, regulariser, data, params hash, ...).
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    with replacing(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(save(weights))
    config = {
        "format": FORMAT,
        "encoder": encoder.params.model_dump(),
        "dim": encoder.dim,
        "mean": encoder.mean.flatten().tolist(),
        "std": encoder.std.flatten().tolist(),
        "weights_sha256": sha256_file(folder / WEIGHTS_FILE),
        **about,
    }
    write_json(folder / CONFIG_FILE, config)


def load_encoder(folder: Path, device: torch.device | str = "cpu") -> tuple[Encoder, dict[str, Any]]:
    """Read an encoder, in evaluation mode, and its config.

    Raises:
        UserError: a file is missing, corrupt, of another format, or does not belong to the other.
    """
    config = read_json(folder / CONFIG_FILE, RERUN)
    weights_file = folder / WEIGHTS_FILE
    if config.get("format") != FORMAT:
        raise UserError(f"{folder / CONFIG_FILE} has format {config.get('format')!r}, not {FORMAT}; {RERUN}")
    if not weights_file.exists():
        raise UserError(f"{weights_file} is missing; {RERUN}")
    if sha256_file(weights_file) != config.get("weights_sha256"):
        raise UserError(f"{weights_file} is not the file that {CONFIG_FILE} describes; {RERUN}")
    try:
        encoder = Encoder(EncoderParams(**config["encoder"]), config["mean"], config["std"])
        encoder.load_state_dict(load_file(weights_file))
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{weights_file} does not fit {CONFIG_FILE} ({reason}); {RERUN}") from None
    return encoder.to(device).eval(), config
