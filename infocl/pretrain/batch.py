"""What flows between the encoder, the objective and the regulariser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infocl.encoder.network import Levels
from infocl.pretrain.parallel.process_group import ProcessGroup

Noise = tuple[Tensor, ...]  # what a regulariser draws at random for a step


@dataclass(frozen=True)
class View:
    """One view of a batch, as the encoder saw it.

    Attributes:
        pixels: normalised images (B, 3, H, W); of several processes, each has only its share of them.
        clean: pooled features of the encoder's levels, (B, D_l) each; what a probe will see.
        levels: the same as the objective sees them, possibly with a regulariser's noise.
        target: the representation (B, D) of these pixels by the momentum target, without gradient; None
            for an objective that has none.
    """

    pixels: Tensor
    clean: Levels
    levels: Levels
    target: Tensor | None = None

    @property
    def features(self) -> Tensor:
        """What the projector sees, (B, D)."""
        return self.levels.level4


@dataclass(frozen=True)
class Batch:
    """Two views of the same images, or one, and what else an objective or a regulariser may use.

    Attributes:
        view1: one view.
        second: the other, where there is one.
        labels: classes int64 (B,), where the data have them.
        embed: the objective's projector, (B, D) to (B, P).
        encode: clean features of further normalised pixels (B, 3, H, W), each process giving its share of
            the pixels and getting the features of all.
        noise: what the regulariser drew for this step, alike in every process.
        plan: what was drawn for the views, of view 1 of each image, then of view 2, as `encoder.augment`
            describes it; of several processes, each has only its share.
        group: the processes that share the batch.
    """

    view1: View
    second: View | None
    labels: Tensor | None = None
    embed: Callable[[Tensor], Tensor] | None = None
    encode: Callable[[Tensor], Levels] | None = None
    noise: Noise = ()
    plan: Tensor | None = None
    group: ProcessGroup = field(default_factory=ProcessGroup)

    @property
    def view2(self) -> View:
        """The other view.

        Raises:
            ValueError: the batch has one view.
        """
        if self.second is None:
            raise ValueError("two views of an image are needed, but the batch has one")
        return self.second

    @property
    def views(self) -> tuple[View, ...]:
        """The views that there are."""
        return (self.view1,) if self.second is None else (self.view1, self.second)

    @property
    def features(self) -> Tensor:
        """What the projector sees of all views, one below the other."""
        return torch.cat([view.features for view in self.views])


@dataclass(frozen=True)
class LossTerm:
    """A loss or a regulariser's term: a scalar to minimise, and named detached scalars to log."""

    value: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
