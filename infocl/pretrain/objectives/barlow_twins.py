"""Barlow Twins: make the cross-correlation of two views' embeddings the identity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision, standardised
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import Objective, bn_mlp, hidden_width, off_diagonal_squares
from infocl.pretrain.objectives.params import BarlowTwinsParams


@full_precision
def barlow_twins_loss(z1: Tensor, z2: Tensor, off_diagonal: float, *, released: bool = False) -> Tensor:
    r"""With C the cross-correlation of the embeddings,

    .. math:: \sum_i (1 - C_{ii})^2 + \lambda \sum_i \sum_{j \ne i} C_{ij}^2

    Args:
        z1: embeddings of view 1, (N, P), N >= 2; any scale and offset.
        z2: embeddings of view 2, (N, P).
        off_diagonal: lambda, at least 0.
        released: whether C is that of the released code of Wang et al., CVPR 2022: of embeddings scaled to
            unit length, with deviations by the divisor N - 1 but correlations by N, so that its diagonal
            is at most 1 - 1 / N. A dimension that varies by less than rounding counts as zero here; there
            it ends in NaN.

    Returns:
        A scalar without a unit, at least 0: a sum over pairs of dimensions. Memory O(N P + P^2).

    Raises:
        ValueError: the shapes differ.

    Reference: Zbontar et al., "Barlow Twins", ICML 2021, equations 1 and 2.
    """
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(f"embeddings must share one shape (N, P), not {z1.shape} and {z2.shape}")
    scale = _scaled_as_released if released else standardised
    correlation = scale(z1).T @ scale(z2) / len(z1)  # (P, P)
    return (1 - correlation.diagonal()).square().sum() + off_diagonal * off_diagonal_squares(correlation)


def _scaled_as_released(z: Tensor) -> Tensor:
    unit = F.normalize(z, dim=1)
    return (unit - unit.mean(0)) / unit.var(0).clamp_min(torch.finfo(unit.dtype).eps ** 2).sqrt()


class BarlowTwins(Objective):
    """Redundancy reduction between the embeddings of a projector with BatchNorm.

    Reference: Zbontar et al., ICML 2021; off-diagonal weight 1e-2 and projector 512-BN-1024 as in
    Wang et al., CVPR 2022.
    """

    def __init__(self, params: BarlowTwinsParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.off_diagonal = params.off_diagonal
        self.released = params.correlation == "released"
        self.projector = bn_mlp([dim, hidden_width(dim, params.projector_hidden), params.projector_out])

    def forward(self, batch: Batch) -> LossTerm:
        """The loss; part `positive_correlation` is the mean of the diagonal."""
        z1, z2 = self.embed(batch.features).chunk(2)
        diagonal = (standardised(z1.detach()) * standardised(z2.detach())).mean()
        loss = barlow_twins_loss(z1, z2, self.off_diagonal, released=self.released)
        return LossTerm(loss, {"positive_correlation": diagonal})
