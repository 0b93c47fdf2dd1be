"""SimCLR: normalised temperature-scaled cross-entropy between the views of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import Objective, hidden_width, mlp
from infocl.pretrain.objectives.params import SimCLRParams


@full_precision
def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    r"""NT-Xent, the mean over all 2N embeddings of

    .. math:: -\log \frac{\exp(\cos(z_i, z_{j(i)}) / \tau)}{\sum_{k \neq i} \exp(\cos(z_i, z_k) / \tau)}

    with j(i) the other view of the same image.

    Args:
        z1: embeddings of view 1, (N, D), N >= 1; any scale, they are normalised here.
        z2: embeddings of view 2, (N, D).
        temperature: above 0.

    Returns:
        A scalar in nats, at least 0; log(2N - 1) when all embeddings are equal.

    Raises:
        ValueError: the shapes differ.

    Reference: Chen et al., ICML 2020, equation 1. Memory O(N^2 + N D).
    """
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(f"embeddings must share one shape (N, D), not {z1.shape} and {z2.shape}")
    count = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, D)
    logits = z @ z.T / temperature  # (2N, 2N)
    logits.fill_diagonal_(float("-inf"))
    partner = torch.arange(2 * count, device=z.device).roll(count)
    return F.cross_entropy(logits, partner)


class SimCLR(Objective):
    """NT-Xent on the embeddings of a two-layer projector.

    Reference: Chen et al., ICML 2020; projector D-D-128 without BatchNorm and temperature 0.5 as in
    Wang et al., CVPR 2022.
    """

    loss = staticmethod(nt_xent)

    def __init__(self, params: SimCLRParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.temperature = params.temperature
        self.projector = mlp(dim, hidden_width(dim, params.projector_hidden), params.projector_out)

    def forward(self, batch: Batch) -> LossTerm:
        """The loss of a batch; part `positive_cosine` is the mean cosine between partners."""
        z1, z2 = self.embed(batch.features).chunk(2)
        cosine = F.cosine_similarity(z1.detach(), z2.detach()).mean()
        return LossTerm(self.loss(z1, z2, self.temperature), {"positive_cosine": cosine})
