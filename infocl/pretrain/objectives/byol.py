"""BYOL: predict the momentum target's embedding of the other view, without negatives."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import TargetObjective


@full_precision
def byol_loss(p1: Tensor, p2: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    r"""Squared distance of normalised predictions to the other view's targets, both ways:

    .. math:: \frac1N \sum_i (2 - 2 \cos(p^1_i, t^2_i)) + (2 - 2 \cos(p^2_i, t^1_i))

    Args:
        p1: predictions from view 1, (N, P); any scale.
        p2: predictions from view 2, (N, P).
        t1: target embeddings of view 1, (N, P); no gradient reaches them.
        t2: target embeddings of view 2, (N, P).

    Returns:
        A scalar in 0..8.

    Reference: Grill et al., "Bootstrap Your Own Latent", NeurIPS 2020, equation 2.
    """
    cosine = F.cosine_similarity(p1, t2.detach()) + F.cosine_similarity(p2, t1.detach())
    return (4 - 2 * cosine).mean()


class BYOL(TargetObjective):
    """Online projector and predictor against a momentum target.

    Reference: Grill et al., NeurIPS 2020; projector 512-BN-128, predictor 128-BN-128 and momentum
    0.996 to 1 as in Wang et al., CVPR 2022. The momentum moves at each step, not at each epoch.
    """

    def forward(self, batch: Batch) -> LossTerm:
        """BYOL's loss; part `positive_cosine` is the mean cosine of predictions and targets."""
        loss = byol_loss(*self.predictions_and_targets(batch))
        return LossTerm(loss, {"positive_cosine": 1 - loss.detach() / 4})
