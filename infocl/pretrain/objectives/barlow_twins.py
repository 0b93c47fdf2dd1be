"""Barlow Twins: make the cross-correlation of two views' embeddings the identity."""

from __future__ import annotations

import torch
from torch import Tensor

from infocl.encoder.numerics import full_precision, standardised
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import Objective, bn_mlp, hidden_width, off_diagonal_squares
from infocl.pretrain.objectives.params import BarlowTwinsParams


@full_precision
def barlow_twins_loss(z1: Tensor, z2: Tensor, off_diagonal: float) -> Tensor:
    r"""With C the cross-correlation of the embeddings,

    .. math:: \sum_i (1 - C_{ii})^2 + \lambda \sum_i \sum_{j \ne i} C_{ij}^2

    Args:
        z1: embeddings of view 1, (N, P), N >= 2; any scale and offset.
        z2: embeddings of view 2, (N, P).
        off_diagonal: lambda, at least 0.

    Returns:
        A scalar without a unit, at least 0: a sum over pairs of dimensions. Memory O(N P + P^2).

    Raises:
        ValueError: the shapes differ.

    Reference: Zbontar et al., "Barlow Twins", ICML 2021, equations 1 and 2.
    """
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(f"embeddings must share one shape (N, P), not {z1.shape} and {z2.shape}")
    correlation = standardised(z1).T @ standardised(z2) / len(z1)  # (P, P)
    return (1 - correlation.diagonal()).square().sum() + off_diagonal * off_diagonal_squares(correlation)


class BarlowTwins(Objective):
    """Redundancy reduction between the embeddings of a projector with BatchNorm.

    Args:
        params: the block `objective.barlow_twins`.
        dim: width D of the representation.
        classes: unused; labels play no part.

    Reference: Zbontar et al., ICML 2021; off-diagonal weight 1e-2 and projector 512-BN-1024 as in
    Wang et al., CVPR 2022.
    """

    def __init__(self, params: BarlowTwinsParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.off_diagonal = params.off_diagonal
        self.projector = bn_mlp([dim, hidden_width(dim, params.projector_hidden), params.projector_out])

    def forward(self, batch: Batch) -> LossTerm:
        """The loss; part `positive_correlation` is the mean of the diagonal."""
        z1, z2 = self.embed(torch.cat([batch.view1.features, batch.view2.features])).chunk(2)
        diagonal = (standardised(z1.detach()) * standardised(z2.detach())).mean()
        return LossTerm(barlow_twins_loss(z1, z2, self.off_diagonal), {"positive_correlation": diagonal})
