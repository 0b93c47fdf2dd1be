"""The weights alone, under the names that torchvision and timm give to those of a ResNet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save
from torch import nn

from infocl.encoder.imported import their_name
from infocl.encoder.network import ARCHITECTURES, Encoder
from infocl.runtime.files import sha256_file, write_bytes

WEIGHTS_FILE = "encoder.safetensors"
STANDARD = (64, 128, 256, 512)  # channels of the levels, before a bottleneck's expansion


def write_weights(folder: Path, encoder: Encoder) -> dict[str, Any]:
    """Write `encoder.safetensors` in float32, and describe it for `encoder.json`.

    The file holds no classifier. Its metadata say by which mean and standard deviation images in [0, 1] are
    normalised before they reach the network.

    Returns:
        The file's name, size and SHA-256, and what `loading` says.
    """
    tensors = {
        their_name(name): tensor.detach().cpu().contiguous()
        for name, tensor in encoder.state_dict().items()
        if name not in ("mean", "std")
    }
    mean, std = (values.flatten().tolist() for values in (encoder.mean, encoder.std))
    about = encoder.params.model_dump() | {"mean": mean, "std": std}
    path = folder / WEIGHTS_FILE
    # A single entry, because the format keeps several in no order.
    write_bytes(path, save(tensors, metadata={"infocl": json.dumps(about)}))
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256_file(path),
        **loading(encoder),
    }


def loading(encoder: Encoder) -> dict[str, Any]:
    """How other libraries hold an encoder.

    Returns:
        `loads_in`: by library the lines of Python that import and load it, started beside the file, and
        `not_in`: by library why it cannot hold this encoder.
    """
    stored = encoder.state_dict()
    widths = tuple(len(stored[f"levels.{level}.0.conv1.weight"]) for level in range(len(STANDARD)))
    block, depths = ARCHITECTURES[encoder.params.arch]
    kind, arch = block.__name__, encoder.params.arch
    lines, reasons = {}, {}
    if widths == STANDARD:
        lines["timm"] = ["import timm", f'model = timm.create_model("{arch}", num_classes=0)']
        lines["torchvision"] = ["import torchvision", f"model = torchvision.models.{arch}()"]
    else:
        reasons["torchvision"] = f"its ResNets have levels of {STANDARD} channels, this encoder of {widths}"
    if widths != STANDARD and widths[0] % 2 == 0:
        # timm's stem has a free width only where it is deep; its convolutions are replaced below.
        stem = f'stem_type="deep", stem_width={widths[0] // 2}'
        lines["timm"] = [
            f"from timm.models.resnet import {kind}, ResNet",
            f"model = ResNet({kind}, {depths}, num_classes=0, {stem}, channels={widths})",
        ]
    elif widths != STANDARD:
        reasons["timm"] = f"its ResNets begin with an even number of channels, this encoder with {widths[0]}"
    for library, found in lines.items():
        found += _parts_replaced(encoder, library, kept=widths == STANDARD)
        found.append(f'model.load_state_dict(load_file("{WEIGHTS_FILE}"))')
    return {"loads_in": lines, "not_in": reasons}


def _parts_replaced(encoder: Encoder, library: str, *, kept: bool) -> list[str]:
    """One line for what the library's network has otherwise; `kept`: its stem is the original one."""
    parts: dict[str, str] = {}
    original = encoder.params.stem == "imagenet"
    if not (original and kept):
        conv = cast(nn.Conv2d, encoder.stem[0])
        sides = ", ".join(str(pair[0]) for pair in (conv.kernel_size, conv.stride, conv.padding))
        parts["conv1"] = f"torch.nn.Conv2d(3, {conv.out_channels}, {sides}, bias=False)"
    if not original:
        parts["maxpool"] = "torch.nn.Identity()"
    if library == "torchvision":
        parts["fc"] = "torch.nn.Identity()"
    names = ", ".join(f"model.{name}" for name in parts)
    return [f"{names} = {', '.join(parts.values())}"] if parts else []
