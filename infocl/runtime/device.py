"""Which device to compute on."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch
from torch import Tensor

from infocl.runtime.errors import UserError


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


def describe_device(device: torch.device) -> str:
    """The device's name as a person would say it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`, for which the host does not wait."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # from other memory the driver may wait for what it was given before
    return tensor.to(device, non_blocking=True)


def free_memory(device: torch.device) -> int:
    """Bytes that may still be allocated on a device; on the CPU within the limits of a container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    limits = Path("/sys/fs/cgroup")
    try:
        statistics = dict(line.split() for line in (limits / "memory.stat").read_text().splitlines())
        used = int((limits / "memory.current").read_text()) - int(statistics["inactive_file"])
        return min(free, max(0, int((limits / "memory.max").read_text()) - used))
    except (OSError, ValueError, KeyError):  # no container, or one without a limit
        return free
