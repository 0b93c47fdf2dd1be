"""What a regulariser is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infocl.batch import Batch, Term
from infocl.encoders import Levels


@dataclass(frozen=True)
class Shapes:
    """What a regulariser must know of the encoder: widths of levels 2 to 4 and the image side in px."""

    level_dims: tuple[int, ...]
    image_size: int


class Regularizer(nn.Module, ABC):
    """Adds a term to any objective; may put noise on the features that the objective sees."""

    def perturb(self, levels: Levels, generator: torch.Generator) -> Levels:
        """The features as the objective shall see them; unchanged unless a subclass adds noise."""
        return levels

    @abstractmethod
    def forward(self, batch: Batch) -> Term:
        """The term of a batch, to be minimised, and its named parts."""

    def reconstruct(self, features: Tensor) -> Tensor | None:
        """Normalised images (B, 3, H, W) decoded from features (B, D), where there is a decoder."""
        return None
