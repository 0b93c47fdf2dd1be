"""BatchNorm that normalises each view of a batch by itself."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class ByView(_BatchNorm):
    """What makes a BatchNorm layer treat a batch of views one below the other as one batch for each view.

    It normalises, and updates its running statistics, as it would if each view passed alone, one after the
    other. In evaluation it is the layer that it was.

    Attributes:
        views: in the batch, of as many images each.
    """

    views: int

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (views * B, C, ...)."""
        forward = super().forward
        if not self.training or self.views == 1:
            return forward(input)
        return torch.cat([forward(view) for view in input.chunk(self.views)])


def split_by_view(module: nn.Module, views: int) -> None:
    """From here on, the BatchNorm layers of `module` normalise each of so many views by itself.

    Weights, statistics and their names stay.
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            if not isinstance(layer, ByView):
                layer.__class__ = _by_view(type(layer))  # type: ignore[arg-type]
            layer.views = views  # type: ignore[assignment]


@functools.cache
def _by_view(kind: type[_BatchNorm]) -> type[_BatchNorm]:
    return type(f"{kind.__name__}ByView", (ByView, kind), {})
