"""BYOL: predict the momentum target's embedding of the other view, without negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import (
    Objective,
    bn_mlp,
    cosine_ramp,
    hidden_width,
    target_features,
    target_of,
)
from infocl.pretrain.objectives.params import BYOLParams


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


class BYOL(Objective):
    """Online projector and predictor against a momentum target.

    Args:
        params: the block `objective.byol`.
        dim: width D of the representation.
        classes: unused; labels play no part.

    Reference: Grill et al., NeurIPS 2020; projector 512-BN-128, predictor 128-BN-128 and momentum
    0.996 to 1 as in Wang et al., CVPR 2022. The momentum moves at each step, not at each epoch.
    """

    def __init__(self, params: BYOLParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.start = params.momentum
        self.projector = bn_mlp([dim, hidden_width(dim, params.projector_hidden), params.projector_out])
        self.predictor = bn_mlp([params.projector_out, params.predictor_hidden, params.projector_out])
        self.target_projector = target_of(self.projector)

    def forward(self, batch: Batch) -> LossTerm:
        """BYOL's loss; part `positive_cosine` is the mean cosine of predictions and targets."""
        embedded = self.embed(batch.features)
        p1, p2 = self.predictor(embedded).chunk(2)
        with torch.no_grad():
            t1, t2 = self.target_projector(target_features(batch)).chunk(2)
        loss = byol_loss(p1, p2, t1, t2)
        return LossTerm(loss, {"positive_cosine": 1 - loss.detach() / 4})

    def momentum(self, step: int, total_steps: int) -> float:
        """From `momentum` to 1 along half a cosine."""
        return cosine_ramp(self.start, step, total_steps)

    def target_modules(self) -> dict[str, tuple[nn.Module, nn.Module]]:
        """The projector."""
        return {"projector": (self.projector, self.target_projector)}
