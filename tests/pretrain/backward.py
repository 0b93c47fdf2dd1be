"""Autograd's backward pass in Python: its C++ engine takes no node of a GPU where there is none."""

from __future__ import annotations

import heapq
from collections import Counter

import torch


def backward(loss):
    """Add the gradients of a scalar to its weights, node by node in the engine's order."""
    waiting = _consumers(loss.grad_fn)
    gradients = {loss.grad_fn: {0: torch.ones_like(loss)}}
    ready = [_turn(loss.grad_fn)]
    with torch.no_grad():
        while ready:
            node = heapq.heappop(ready)[-1]
            given = gradients.pop(node, {})
            if hasattr(node, "variable"):
                _accumulate(node.variable, given[0])
                continue
            results = node(*(given.get(slot) for slot in range(len(node._input_metadata))))
            results = results if isinstance(results, tuple) else (results,)
            for (following, slot), gradient in zip(node.next_functions, results, strict=True):
                if following is None:
                    continue
                if gradient is not None:
                    _add(gradients.setdefault(following, {}), following, slot, gradient)
                waiting[following] -= 1
                if not waiting[following]:
                    heapq.heappush(ready, _turn(following))


def _turn(node):
    """Weights come first, then what was computed last."""
    return not hasattr(node, "variable"), -node._sequence_nr(), id(node), node


def _consumers(root):
    """How many gradients each node waits for."""
    waiting, found, stack = Counter(), {root}, [root]
    while stack:
        for following, _ in stack.pop().next_functions:
            if following is None:
                continue
            waiting[following] += 1
            if following not in found:
                found.add(following)
                stack.append(following)
    return waiting


def _add(slots, node, slot, gradient):
    expected = node._input_metadata[slot]
    if gradient.shape != expected.shape:
        gradient = gradient.sum_to_size(expected.shape)
    gradient = gradient.to(expected.dtype)
    slots[slot] = slots[slot] + gradient if slot in slots else gradient


def _accumulate(weight, gradient):
    if gradient.stride() != weight.stride():
        gradient = torch.empty_like(weight).copy_(gradient)
    weight.grad = gradient.detach() if weight.grad is None else weight.grad + gradient
