"""What an objective is."""

from __future__ import annotations

import copy
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from infocl.encoder.numerics import at_least_float32
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.params import BYOLParams
from infocl.runtime.schema import PlugIn


class Objective(nn.Module, ABC):
    """Contrasts two views; owns its projector, never sees the regulariser.

    Args:
        params: its block of the section `objective`.
        dim: width D of the representation.
        classes: C of the labels, which most do not use; 0 without labels.

    Attributes:
        projector: maps the representation (B, D) to the embedding that is contrasted.
        needs_labels: whether it works only on labelled data.
        views: of an image that it needs in a batch, 1 or 2.
    """

    projector: nn.Module
    needs_labels = False
    views = 2

    def __init__(self, params: PlugIn, dim: int, classes: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, batch: Batch) -> LossTerm:
        """The loss of a batch and its named parts."""

    def embed(self, features: Tensor) -> Tensor:
        """The embedding (B, P) of representations (B, D), in float32 at least."""
        return at_least_float32(self.projector(features))

    def momentum(self, step: int, total_steps: int) -> float | None:
        """Share that the momentum target keeps at this step, in 0..1; None when there is no target."""
        return None

    def target_modules(self) -> dict[str, tuple[nn.Module, nn.Module]]:
        """Further modules that a momentum target follows, (online, target) by name; none by default."""
        return {}


class TargetObjective(Objective):
    """Predicts embeddings of a momentum target, which rises as in BYOL.

    Args:
        params: as in the base class, with the momentum at the start.
        dim: as in the base class.
        classes: as in the base class.
        last_bn: whether BatchNorm follows the projector.
    """

    def __init__(self, params: BYOLParams, dim: int, classes: int, *, last_bn: bool = False) -> None:
        super().__init__(params, dim, classes)
        self.start = params.momentum
        out = params.projector_out
        self.projector = bn_mlp([dim, hidden_width(dim, params.projector_hidden), out], last_bn=last_bn)
        self.predictor = bn_mlp([out, params.predictor_hidden, out])
        self.target_projector = target_of(self.projector)

    def predictions_and_targets(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predictions from both views and the target's embeddings of both, (B, P) each."""
        p1, p2 = self.predictor(self.embed(batch.features)).chunk(2)
        with torch.no_grad():
            t1, t2 = self.target_projector(target_features(batch)).chunk(2)
        return p1, p2, t1, t2

    def momentum(self, step: int, total_steps: int) -> float:
        """From `momentum` to 1 along half a cosine."""
        return cosine_ramp(self.start, step, total_steps)

    def target_modules(self) -> dict[str, tuple[nn.Module, nn.Module]]:
        """The projector."""
        return {"projector": (self.projector, self.target_projector)}


def cosine_ramp(start: float, step: int, total_steps: int) -> float:
    """A momentum that rises from `start` to 1 along half a cosine (Grill et al. 2020, section 3.2)."""
    return 1 - (1 - start) * (math.cos(math.pi * step / total_steps) + 1) / 2


def target_of(module: nn.Module) -> nn.Module:
    """A copy that only ever follows `module`: no gradient, BatchNorm statistics of its own."""
    return copy.deepcopy(module).requires_grad_(False)


def mlp(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Linear, ReLU, linear: the projector of SimCLR on small images, without BatchNorm."""
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(inplace=True), nn.Linear(hidden_dim, out_dim))


def target_features(batch: Batch) -> Tensor:
    """The momentum target's representations of both views, (2B, D).

    Raises:
        ValueError: the batch comes without a momentum target's.
    """
    if batch.view1.target is None or batch.view2.target is None:
        raise ValueError("this objective needs a momentum target, but the batch has none")
    return torch.cat([batch.view1.target, batch.view2.target])


def off_diagonal_squares(matrix: Tensor) -> Tensor:
    """Sum of the squares beside the diagonal of (P, P), at least 0.

    Taking the diagonal's squares from the sum of all would leave its rounding error, of either sign.
    """
    return matrix.square().fill_diagonal_(0).sum()


def bn_mlp(dims: Sequence[int], *, last_bn: bool = False) -> nn.Sequential:
    """Linear, BatchNorm, ReLU, ..., linear: from width dims[0] to dims[-1].

    Args:
        dims: widths, input first; at least two.
        last_bn: whether a BatchNorm without scale and offset follows the last layer.
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(dims[:-1]):
        layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
    layers.append(nn.Linear(dims[-2], dims[-1], bias=not last_bn))
    if last_bn:
        layers.append(nn.BatchNorm1d(dims[-1], affine=False))
    return nn.Sequential(*layers)


def hidden_width(dim: int, hidden: int | str) -> int:
    """A hidden layer's width; `auto` is the representation's."""
    return dim if isinstance(hidden, str) else hidden
