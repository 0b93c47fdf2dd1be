"""MoCo v3: contrast predictions with the momentum target's embeddings of the other view."""

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


class MoCoV3(Objective):
    """Online projector and predictor, momentum target, in-batch negatives, both ways.

    Args:
        params: the block `objective.mocov3`.
        dim: width D of the representation.
        classes: unused; labels play no part.

    Reference: Chen, Xie and He, ICCV 2021, and their code's builder for ResNets: two layers each, a last
    BatchNorm without scale and offset on the projector only, momentum 0.99 to 1 along half a cosine.
    """

    def __init__(self, params: MoCoV3Params, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.start, self.temperature = params.momentum, params.temperature
        hidden, out = hidden_width(dim, params.projector_hidden), params.projector_out
        self.projector = bn_mlp([dim, hidden, out], last_bn=True)
        self.predictor = bn_mlp([out, params.predictor_hidden, out])
        self.target_projector = target_of(self.projector)

    def forward(self, batch: Batch) -> LossTerm:
        """The sum of both ways; part `positive_cosine` is the mean cosine of queries and keys."""
        embedded = self.embed(batch.features)
        q1, q2 = self.predictor(embedded).chunk(2)
        with torch.no_grad():
            k1, k2 = self.target_projector(target_features(batch)).chunk(2)
        loss = moco_loss(q1, k2, self.temperature) + moco_loss(q2, k1, self.temperature)
        cosine = F.cosine_similarity(torch.cat([q1, q2]).detach(), torch.cat([k2, k1])).mean()
        return LossTerm(loss, {"positive_cosine": cosine})

    def momentum(self, step: int, total_steps: int) -> float:
        """From `momentum` to 1 along half a cosine."""
        return cosine_ramp(self.start, step, total_steps)

    def target_modules(self) -> dict[str, tuple[nn.Module, nn.Module]]:
        """The projector."""
        return {"projector": (self.projector, self.target_projector)}
