"""SimSiam: predict the other view's embedding, whose gradient is stopped."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import Objective, bn_mlp, hidden_width
from infocl.pretrain.objectives.params import SimSiamParams


@full_precision
def simsiam_loss(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    r"""Negative cosine to the other view's embedding, the mean of both ways:

    .. math:: -\frac1{2N} \sum_i \cos(p^1_i, z^2_i) + \cos(p^2_i, z^1_i)

    Args:
        p1: predictions from view 1, (N, P); any scale.
        p2: predictions from view 2, (N, P).
        z1: embeddings of view 1, (N, P); no gradient reaches them.
        z2: embeddings of view 2, (N, P).

    Returns:
        A scalar in -1..1; -1 also when all embeddings are equal, so watch the features' spread.

    Reference: Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, equation 4.
    """
    cosine = F.cosine_similarity(p1, z2.detach()) + F.cosine_similarity(p2, z1.detach())
    return -cosine.mean() / 2


class SimSiam(Objective):
    """Projector and predictor without negatives and without a momentum target.

    Reference: Chen and He, CVPR 2021: projector of three layers (two in their CIFAR runs), BatchNorm
    also on its output, predictor with a bottleneck of a quarter. Deviation: the predictor's learning rate
    follows the schedule like all others (their released code keeps it constant).
    """

    def __init__(self, params: SimSiamParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        hidden, out = hidden_width(dim, params.projector_hidden), params.projector_out
        self.projector = bn_mlp([dim, hidden, hidden, out], last_bn=True)
        self.predictor = bn_mlp([out, params.predictor_hidden, out])

    def forward(self, batch: Batch) -> LossTerm:
        """SimSiam's loss; part `positive_cosine` is the mean cosine of predictions and embeddings."""
        embedded = self.embed(batch.features)
        z1, z2 = embedded.chunk(2)
        p1, p2 = self.predictor(embedded).chunk(2)
        loss = simsiam_loss(p1, p2, z1, z2)
        return LossTerm(loss, {"positive_cosine": -loss.detach()})
