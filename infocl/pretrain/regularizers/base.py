"""What a regulariser is."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infocl.encoder.network import Levels
from infocl.pretrain.batch import Batch, LossTerm, Noise


@dataclass(frozen=True)
class Shapes:
    """What a regulariser must know of the encoder and the views.

    Attributes:
        level_dims: widths of the encoder's levels 2 to 4.
        image_size: side of the images in px.
        jitter: strengths of brightness, contrast, saturation and hue; without them, the largest there are.
    """

    level_dims: tuple[int, ...]
    image_size: int
    jitter: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 0.5)


class Regularizer(nn.Module, ABC):
    """Adds a term to any objective; may put noise on the features that the objective sees.

    Attributes:
        changes_forward: whether the objective sees other features than without a regulariser. Where it
            is False, a run of weight 0 is the plain objective bit for bit, running statistics included.
    """

    changes_forward: bool = False

    def draw(self, rows: int, generator: torch.Generator, like: Tensor) -> Noise:
        """What a step draws at random; nothing unless a subclass needs it.

        It is drawn outside the forward pass, so that a compiler sees a function of tensors alone.

        Args:
            rows: of the features of all views, 2B for two.
            generator: seeded by the step, alike in every process.
            like: a tensor of the features' type, on their device.
        """
        return ()

    def perturb(self, levels: Levels, noise: Noise) -> Levels:
        """The features as the objective shall see them; unchanged unless a subclass adds noise."""
        return levels

    @abstractmethod
    def forward(self, batch: Batch) -> LossTerm:
        """The term of a batch, to be minimised, and its named parts."""


class NoisyRegularizer(Regularizer):
    """Shows the objective h = mu + sigma * eps, eps ~ N(0, I), at every level.

    All regularisers that add noise draw it here, so that those of one sigma draw the same.
    """

    changes_forward = True

    def __init__(self, sigma: float, shapes: Shapes) -> None:
        super().__init__()
        self.sigma = sigma
        self._dims = shapes.level_dims

    def draw(self, rows: int, generator: torch.Generator, like: Tensor) -> Noise:
        """eps of each level, (rows, D_l)."""
        draw = functools.partial(torch.randn, generator=generator, device=like.device, dtype=like.dtype)
        return tuple(draw(rows, dim) for dim in self._dims)

    def perturb(self, levels: Levels, noise: Noise) -> Levels:
        """mu + sigma * eps, at every level."""
        return Levels(*(mu + self.sigma * eps for mu, eps in zip(levels, noise, strict=True)))


def embed_views(batch: Batch) -> tuple[Tensor, ...]:
    """The embeddings of each view by the objective's projector, (B, P) each, in float32 at least.

    Raises:
        ValueError: the batch comes without a projector.
    """
    if batch.embed is None:
        raise ValueError("this regulariser works on embeddings, but the batch has no projector")
    return batch.embed(batch.features).chunk(len(batch.views))


def mean_norm(batch: Batch) -> Tensor:
    """Mean L2 norm of the clean representations of all views, for the history."""
    features = torch.cat([view.clean.level4 for view in batch.views]).detach()
    norm: Tensor = torch.linalg.vector_norm(features, dim=1).mean()
    return norm
