"""Mixed samples: embeddings of mixed images must correlate as the mixed embeddings would."""

from __future__ import annotations

import torch
from torch import Tensor

from infocl.encoder.numerics import full_precision, standardised
from infocl.pretrain.batch import Batch, LossTerm, Noise
from infocl.pretrain.regularizers.base import Regularizer, Shapes, embed_views
from infocl.pretrain.regularizers.params import MixedParams


@full_precision
def mixed_correlation_error(z1: Tensor, z2: Tensor, mixed: Tensor, order: Tensor, share: Tensor) -> Tensor:
    r"""How far the mixed samples' cross-correlations are from the mixture of cross-correlations.

    With every dimension standardised over the batch, and a the share,

    .. math:: \sum_{v = 1, 2} \left\| \frac{Z_m^\top Z_v}{N}
        - \left(a \frac{Z_1^\top Z_v}{N} + (1 - a) \frac{Z_2[\pi]^\top Z_v}{N}\right) \right\|_F^2

    Args:
        z1: embeddings of view 1, (N, P), N >= 2; any scale and offset.
        z2: embeddings of view 2, (N, P).
        mixed: embeddings of a x1 + (1 - a) x2[order], (N, P).
        order: the permutation, int64 (N,).
        share: a in 0..1, a scalar.

    Returns:
        A scalar, at least 0; a sum over P^2 pairs of dimensions. Memory O(N P + P^2).

    Raises:
        ValueError: the shapes differ.

    Reference: Bandara et al., "Guarding Barlow Twins Against Overfitting with Mixed Samples", arXiv
    2312.02151. Deviation: the standard deviation divides by N, like the correlations
    (the released code divides it by N - 1), and 1e-5 is added to the variance, so that a constant
    dimension counts as zero.
    """
    if not z1.shape == z2.shape == mixed.shape or z1.ndim != 2:
        raise ValueError(f"embeddings must share one shape (N, P), not {z1.shape}, {z2.shape}, {mixed.shape}")
    z1, z2, mixed = (standardised(z) for z in (z1, z2, mixed))
    excess = mixed - share * z1 - (1 - share) * z2[order]  # what both correlations are linear in
    errors = [(excess.T @ z / len(z)).square().sum() for z in (z1, z2)]
    return errors[0] + errors[1]


class MixedSamples(Regularizer):
    """Mixes view 1 with another image's view 2, pixel by pixel, and asks the same of the embeddings.

    One share a ~ U(0, 1) and one permutation per step. Costs half a forward and backward pass more; the
    running statistics of BatchNorm never see a mixed image. Made for Barlow Twins, it works on the
    cross-correlations of any objective's embeddings.

    Reference: Bandara et al., arXiv 2312.02151; `reg.weight` is its lambda_reg and `scale` its lambda_BT.
    """

    def __init__(self, params: MixedParams, shapes: Shapes) -> None:
        super().__init__()
        self.scale = params.scale

    def draw(self, rows: int, generator: torch.Generator, like: Tensor) -> Noise:
        """The share a and the permutation of the B images."""
        share = torch.rand((), generator=generator, device=like.device)
        return share, torch.randperm(rows // 2, generator=generator, device=like.device)

    def forward(self, batch: Batch) -> LossTerm:
        """The scaled error of both views' correlations."""
        if batch.encode is None or batch.embed is None:
            raise ValueError("mixed samples need the encoder and a projector, but the batch has none")
        pixels1, pixels2 = batch.view1.pixels, batch.group.gather(batch.view2.pixels)
        share, order = batch.noise
        own = batch.group.share(len(order))
        mixed = share * pixels1 + (1 - share) * pixels2[order[own]]
        embedded = batch.embed(batch.encode(mixed).level4)
        z1, z2 = embed_views(batch)
        return LossTerm(self.scale * mixed_correlation_error(z1, z2, embedded, order, share))
