"""Which device to compute on."""

from __future__ import annotations

import torch

from infocl.errors import UserError
from infocl.parallel.world import launched, local_rank


def choose_device(name: str, count: int = 1) -> torch.device:
    """The torch device for `train.device`: auto takes CUDA when there is one.

    Args:
        name: auto, cpu, cuda or cuda:N.
        count: CUDA devices that are needed, from the first on.

    Raises:
        UserError: the device is not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    there = torch.cuda.device_count()
    if device.type == "cuda" and max(device.index or 0, count - 1) >= there:
        asked = f"train.device is {name}" + (f" and {count} of them are needed" if count > 1 else "")
        raise UserError(
            f"{asked}, but this machine shows {there} CUDA devices; set train.device to auto or cpu, or "
            "train.devices to fewer"
        )
    return device


def own_device(name: str) -> torch.device:
    """The same for one of several processes: of CUDA devices, each takes the one of its number."""
    if not launched():
        return choose_device(name)
    device = choose_device(name, local_rank() + 1)
    return torch.device("cuda", local_rank()) if device.type == "cuda" else device


def describe_device(device: torch.device) -> str:
    """The device's name as a person would say it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
