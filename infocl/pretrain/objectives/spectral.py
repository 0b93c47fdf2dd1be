"""Spectral contrastive loss: embeddings that factorise the graph of augmented images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import Objective, bn_mlp, hidden_width
from infocl.pretrain.objectives.params import SpectralParams


@full_precision
def spectral_loss(z1: Tensor, z2: Tensor) -> Tensor:
    r"""Spectral contrastive loss of two views,

    .. math:: -\frac2N \sum_i z^1_i \cdot z^2_i + \frac1{N (N - 1)} \sum_{i \ne j} (z^1_i \cdot z^2_j)^2

    Args:
        z1: embeddings of view 1, (N, D), N >= 2, at the scale that is meant: nothing is normalised here.
        z2: embeddings of view 2, (N, D).

    Returns:
        A scalar without unit, at least -2 r^2 for embeddings of length r.

    Raises:
        ValueError: the shapes differ, or there is no negative.

    Reference: HaoChen et al., "Provable Guarantees for Self-Supervised Deep Learning with Spectral
    Contrastive Loss", NeurIPS 2021, equation 6, with the other images' views as negatives.
    """
    if z1.shape != z2.shape or z1.ndim != 2 or len(z1) < 2:
        raise ValueError(f"embeddings must share one shape (N, D), N >= 2, not {z1.shape} and {z2.shape}")
    count = len(z1)
    products = z1 @ z2.T  # (N, N)
    repulsion = products.square().fill_diagonal_(0).sum() / (count * (count - 1))
    return repulsion - 2 * products.diagonal().mean()


class Spectral(Objective):
    """The spectral loss on embeddings of one length, by a projector with BatchNorm.

    Reference: HaoChen et al., NeurIPS 2021. Deviation: embeddings always have length `radius`; there
    only longer ones are shortened to it.
    """

    def __init__(self, params: SpectralParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.radius = params.radius
        self.projector = bn_mlp([dim, hidden_width(dim, params.projector_hidden), params.projector_out])

    def forward(self, batch: Batch) -> LossTerm:
        """The spectral loss of a batch; part `positive_cosine` is the mean cosine between partners."""
        both = F.normalize(self.embed(batch.features), dim=1)
        z1, z2 = (self.radius * both).chunk(2)
        cosine = F.cosine_similarity(z1.detach(), z2.detach()).mean()
        return LossTerm(spectral_loss(z1, z2), {"positive_cosine": cosine})
