"""Which device to compute on."""

from __future__ import annotations

import torch

from infocl.errors import UserError


def choose_device(name: str) -> torch.device:
    """The torch device for `train.device`: auto takes CUDA when there is one.

    Raises:
        UserError: the device is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"train.device is {name}, but this machine shows {torch.cuda.device_count()} CUDA devices; "
            "use auto or cpu"
        )
    return device


def describe_device(device: torch.device) -> str:
    """The device's name as a person would say it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
