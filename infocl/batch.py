"""What flows between the encoder, the objective and the regulariser."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from infocl.encoders import Levels


@dataclass(frozen=True)
class View:
    """One view of a batch, as the encoder saw it.

    Attributes:
        pixels: normalised images (B, 3, H, W).
        clean: pooled features of the encoder's levels, (B, D_l) each; what a probe will see.
        levels: the same as the objective sees them, possibly with a regulariser's noise.
    """

    pixels: Tensor
    clean: Levels
    levels: Levels

    @property
    def features(self) -> Tensor:
        """What the projector sees, (B, D)."""
        return self.levels.level4


@dataclass(frozen=True)
class Term:
    """A loss or a regulariser's term: a scalar to minimise, and named detached scalars to log."""

    value: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
