"""A CUDA graph of the pretended device: it repeats what was recorded, with tensors and numbers of then."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch.utils._pytree import tree_leaves


def written(function, args):
    """The tensors among the arguments of an operation that it changes."""
    if function is torch.ops.aten.native_batch_norm.default:
        return [x for x in args[3:5] if x is not None]  # statistics, of which its schema says nothing
    found = []
    for argument, value in zip(function._schema.arguments, args, strict=False):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found += [x for x in tree_leaves(value) if isinstance(x, torch.Tensor)]
    return found


class PretendedGraph:
    """What `torch.cuda.CUDAGraph` is on the pretended device.

    Recording computes nothing that lasts: what it changes is put back at the end.
    """

    def __init__(self):
        self.calls, self.before = [], {}

    def record(self, function, args, kwargs):
        for tensor in written(function, args):
            storage = tensor.untyped_storage()
            self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        result = function(*args, **kwargs)
        self.calls.append((function, args, kwargs, result))
        return result

    def put_back(self):
        for storage, value in self.before.values():
            storage.copy_(value)
        self.before.clear()

    def replay(self):
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def recorder(device):
    """What `torch.cuda.graph` is: within it the device records, and refuses what a real one would."""

    @contextmanager
    def record(graph, stream=None, capture_error_mode="global"):
        waits, draws = len(device.waits), len(device.draws)
        device.graph = graph
        try:
            yield
        finally:
            device.graph = None
            graph.put_back()
        if len(device.waits) > waits or len(device.draws) > draws:
            raise RuntimeError(f"operation not permitted when stream is capturing: {device.waits[waits:]}")

    return record
