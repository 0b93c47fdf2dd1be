"""LARS: stochastic gradient descent whose rate fits each layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

Tensors = list[Tensor] | tuple[Tensor, ...]


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling, for large batches.

    Weights w with gradient g move by v ← momentum · v + lr · q · u and w ← w - v, or with the rate outside
    by v ← momentum · v + q · u and w ← w - lr · v: the same while lr stays. Here
    u = g + weight_decay · w and q = trust_coefficient · ||w|| / ||u||, which is 1 where w or u is 0.
    Weights of at most one dimension (biases, BatchNorm) are neither decayed nor adapted: u = g, q = 1.
    A step reads no value back from the device.

    Args:
        weights: what to train; those without a gradient stay where they are.
        lr: learning rate, positive.
        momentum: share of the velocity kept, in 0..1.
        weight_decay: L2, at least 0.
        trust_coefficient: relative length of an adapted step at lr 1, positive.
        lr_inside: whether the rate goes into the velocity, as in SimCLR, or multiplies it, as in BYOL and
            Barlow Twins.

    Reference: You et al., arXiv 1708.03888, algorithm 1, with ||g + weight_decay · w|| for
    ||g|| + weight_decay · ||w||, and with the exclusions, as in SimCLR, BYOL and Barlow Twins.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        *,
        lr: float | Tensor,
        momentum: float,
        weight_decay: float,
        trust_coefficient: float,
        lr_inside: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "lr_inside": lr_inside,
        }
        super().__init__(weights, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all weights once; a closure is not supported."""
        for group in self.param_groups:
            inside, outside = (group["lr"], None) if group["lr_inside"] else (1.0, group["lr"])
            moving = [weight for weight in group["params"] if weight.grad is not None]
            adapted = [weight for weight in moving if weight.ndim > 1]
            if adapted:
                updates = torch._foreach_add(_gradients(adapted), adapted, alpha=group["weight_decay"])
                rates = inside * _trust(adapted, updates, group["trust_coefficient"])
                torch._foreach_mul_(updates, rates.unbind())
                self._move(adapted, updates, group["momentum"], outside)
            excluded = [weight for weight in moving if weight.ndim <= 1]
            if excluded:
                updates = torch._foreach_mul(_gradients(excluded), inside)
                self._move(excluded, updates, group["momentum"], outside)

    def _move(
        self, weights: list[Tensor], updates: Tensors, momentum: float, rate: float | Tensor | None
    ) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        velocities = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, updates)
        torch._foreach_sub_(weights, velocities if rate is None else torch._foreach_mul(velocities, rate))


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def _trust(weights: list[Tensor], updates: Tensors, coefficient: float) -> Tensor:
    """The factor q of each weight, (number of weights,)."""
    lengths = torch.stack(torch._foreach_norm(weights))
    steps = torch.stack(torch._foreach_norm(updates))
    return torch.where((lengths > 0) & (steps > 0), coefficient * lengths / steps, 1.0)
