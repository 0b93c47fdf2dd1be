"""A CUDA device that is pretended: its tensors compute on the CPU, and each wait for them is logged.

A tensor of the device says `cuda` and holds a CPU tensor.
"""

from __future__ import annotations

import traceback
from collections import Counter
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from tests.pretrain.backward import backward
from tests.pretrain.pretended_graph import PretendedGraph, recorder

aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
# The size of their result, or what the host does next, depends on values: the host waits for them.
BY_VALUES = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "bincount")
NO_LAUNCH = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")  # nor has a view one
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


class HostGenerator(torch.Generator):
    """One of any device, which draws as the CPU's do."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls)


class PretendedCuda(TorchDispatchMode):
    """What the host asks of the device.

    Attributes: `waits`, the host's waits for it and where; `draws`, random draws on it; `launches`, the
    operations on it by `phase`, whatever that says.
    """

    def __init__(self):
        super().__init__()
        self.waits, self.draws = [], []
        self.launches, self.phase = Counter(), "rest"
        self.pinned = []  # memory from which a copy need not wait
        self.graph = None  # that records
        self.generator = torch.Generator()  # no seed of the CPU's sets this one

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is aten._pin_memory.default:
            self.pinned.append(args[0].clone())
            return self.pinned[-1]
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
        recorded = self.graph is not None and (here or wrappers)
        result = self.graph.record(function, args, kwargs) if recorded else function(*args, **kwargs)
        if not here:
            return result
        return tree_map_only(
            torch.Tensor, lambda x: wrappers[id(x)] if id(x) in wrappers else OnDevice(x), result
        )

    def _log(self, function, args, kwargs, given, here):
        name = function._schema.name.removeprefix("aten::")
        if not function.is_view and name not in NO_LAUNCH:
            self.launches[self.phase] += 1
        from_host = [x for x in given if not isinstance(x, OnDevice)]
        if torch.Tag.nondeterministic_seeded in function.tags:
            self.draws.append(name)
        asynchronous = kwargs.get("non_blocking") or (function is aten.copy_.default and args[2:] == (True,))
        blocking = not asynchronous or any(all(x is not y for y in self.pinned) for x in from_host)
        crossing = bool(from_host) == here
        by_mask = name in ("index", "index_put_") and any(x.dtype == torch.bool for x in given[1:])
        if (function in COPIES and crossing and blocking) or name in BY_VALUES or by_mask:
            self.waits.append(f"{name} at {place()}")
        elif function not in COPIES and any(x.ndim for x in from_host):
            self.waits.append(f"{name} with a CPU tensor at {place()}")

    def watch(self, owner, name, phase):
        """Count the launches of a method as of that phase."""
        method = getattr(owner, name)

        def watched(*args, **kwargs):
            before, self.phase = self.phase, phase
            try:
                return method(*args, **kwargs)
            finally:
                self.phase = before

        setattr(owner, name, watched)


def place():
    """The line of this project or of Kornia from which an operation was called."""
    for frame in reversed(traceback.extract_stack()):
        if "/infocl/" in frame.filename or "/kornia/" in frame.filename:
            return f"{frame.filename}:{frame.lineno}"
    return "?"


@contextmanager
def pretended_cuda():
    """Within it `cuda` is the pretended device; CUDA generators draw as the CPU's do."""
    torch._C._ensureCUDADeviceGuardSet()
    memory = (1 << 40, 1 << 40)
    with (
        patch.multiple(
            torch.cuda,
            _lazy_init=lambda: None,
            mem_get_info=lambda device: memory,
            get_device_name=lambda device: "pretended",
            is_bf16_supported=lambda: True,
            current_stream=lambda: None,
            CUDAGraph=PretendedGraph,
        ),
        patch.object(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        patch.object(torch, "Generator", HostGenerator),
        patch.object(torch.Tensor, "backward", backward),
        torch.backends.cudnn.flags(enabled=False),
        PretendedCuda() as device,
        patch.object(torch.cuda, "graph", recorder(device)),
    ):
        device.watch(torch.Tensor, "backward", "backward")
        torch._C._set_only_lift_cpu_tensors(True)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            yield device
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
            torch.__future__.set_overwrite_module_params_on_conversion(False)
