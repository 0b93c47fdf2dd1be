"""A CUDA device that is pretended: its tensors compute on the CPU, and each wait for them is logged.

A tensor of the device says `cuda` and holds a CPU tensor. A backward pass needs a real GPU.
"""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
# The size of their result, or what the host does next, depends on values: the host waits for them.
BY_VALUES = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "bincount")
CPU = torch.device("cpu")


class OnDevice(torch.Tensor):
    """A tensor of the pretended device."""

    @staticmethod
    def __new__(cls, value):
        return torch.Tensor._make_wrapper_subclass(
            cls, value.shape, value.stride(), value.storage_offset(), dtype=value.dtype, device="cuda:0"
        )

    def __init__(self, value):
        self.value = value

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise AssertionError(f"{function} reached the pretended device after its end")


class PretendedCuda(TorchDispatchMode):
    """Attributes: `waits`, the host's waits for the device and where; `draws`, random draws on it."""

    def __init__(self):
        super().__init__()
        self.waits, self.draws = [], []
        self.generator = torch.Generator()  # no seed of the CPU's sets this one

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        wrappers = {id(x.value): x for x in given if isinstance(x, OnDevice)}
        asked = kwargs.get("device")
        here = torch.device(asked).type == "cuda" if asked is not None else bool(wrappers)
        if wrappers or here:
            self._log(function, args, kwargs, given, here)
        if asked is not None:
            kwargs["device"] = CPU
        if here and torch.Tag.nondeterministic_seeded in function.tags and kwargs.get("generator") is None:
            kwargs["generator"] = self.generator
        args, kwargs = tree_map_only(OnDevice, lambda x: x.value, (args, kwargs))
        result = function(*args, **kwargs)
        if not here:
            return result
        return tree_map_only(
            torch.Tensor, lambda x: wrappers[id(x)] if id(x) in wrappers else OnDevice(x), result
        )

    def _log(self, function, args, kwargs, given, here):
        name = function._schema.name.removeprefix("aten::")
        from_host = [x for x in given if not isinstance(x, OnDevice)]
        if torch.Tag.nondeterministic_seeded in function.tags:
            self.draws.append(name)
        blocking = not (
            kwargs.get("non_blocking") or (function is aten.copy_.default and len(args) > 2 and args[2])
        )
        crossing = bool(from_host) == here
        by_mask = name in ("index", "index_put_") and any(x.dtype == torch.bool for x in given[1:])
        if (function in COPIES and crossing and blocking) or name in BY_VALUES or by_mask:
            self.waits.append(f"{name} at {place()}")
        elif function not in COPIES and any(x.ndim for x in from_host):
            self.waits.append(f"{name} with a CPU tensor at {place()}")


def place():
    """The line of this project or of Kornia from which an operation was called."""
    for frame in reversed(traceback.extract_stack()):
        if "/infocl/" in frame.filename or "/kornia/" in frame.filename:
            return f"{frame.filename}:{frame.lineno}"
    return "?"


@contextmanager
def pretended_cuda():
    """Within it `cuda` is the pretended device; CUDA generators draw as the CPU's do."""
    generator = torch.Generator
    torch._C._ensureCUDADeviceGuardSet()
    memory = (1 << 40, 1 << 40)
    with (
        patch.multiple(
            torch.cuda,
            _lazy_init=lambda: None,
            mem_get_info=lambda device: memory,
            get_device_name=lambda device: "pretended",
            is_bf16_supported=lambda: True,
        ),
        patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        patch.object(torch, "Generator", lambda device="cpu": generator()),
        torch.backends.cudnn.flags(enabled=False),
        PretendedCuda() as device,
    ):
        torch._C._set_only_lift_cpu_tensors(True)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            yield device
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
            torch.__future__.set_overwrite_module_params_on_conversion(False)
