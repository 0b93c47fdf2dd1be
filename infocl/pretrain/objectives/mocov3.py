"""MoCo v3: contrast predictions with the momentum target's embeddings of the other view."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import TargetObjective
from infocl.pretrain.objectives.params import MoCoV3Params


@full_precision
def moco_loss(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    r"""InfoNCE from queries to keys, times 2 tau:

    .. math:: -\frac{2 \tau}{N} \sum_i \log \frac{e^{\cos(q_i, k_i)/\tau}}{\sum_j e^{\cos(q_i, k_j)/\tau}}

    Args:
        q: queries, (N, P); any scale, they are normalised here.
        k: keys, (N, P); no gradient reaches them.
        temperature: tau, above 0.

    Returns:
        A scalar, at least 0; 2 tau log N when all are equal.

    Raises:
        ValueError: the shapes differ.

    Reference: Chen, Xie and He, "An Empirical Study of Training Self-Supervised Vision Transformers",
    ICCV 2021, equation 1 and algorithm 1.
    """
    if q.shape != k.shape or q.ndim != 2:
        raise ValueError(f"queries and keys must share one shape (N, P), not {q.shape} and {k.shape}")
    logits = F.normalize(q, dim=1) @ F.normalize(k.detach(), dim=1).T / temperature
    return 2 * temperature * F.cross_entropy(logits, torch.arange(len(q), device=q.device))


class MoCoV3(TargetObjective):
    """Online projector and predictor, momentum target, in-batch negatives, both ways.

    Reference: Chen, Xie and He, ICCV 2021, and their code's builder for ResNets: two layers each, a last
    BatchNorm without scale and offset on the projector only, momentum 0.99 to 1 along half a cosine.
    """

    def __init__(self, params: MoCoV3Params, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes, last_bn=True)
        self.temperature = params.temperature

    def forward(self, batch: Batch) -> LossTerm:
        """The sum of both ways; part `positive_cosine` is the mean cosine of queries and keys."""
        q1, q2, k1, k2 = self.predictions_and_targets(batch)
        loss = moco_loss(q1, k2, self.temperature) + moco_loss(q2, k1, self.temperature)
        cosine = F.cosine_similarity(torch.cat([q1, q2]).detach(), torch.cat([k2, k1])).mean()
        return LossTerm(loss, {"positive_cosine": cosine})
