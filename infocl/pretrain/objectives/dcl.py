"""DCL: SimCLR's contrast without the positive in the denominator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.objectives.simclr import SimCLR


@full_precision
def decoupled_nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    r"""Decoupled contrastive loss, the mean over all 2N embeddings of

    .. math:: -\frac{\cos(z_i, z_{j(i)})}{\tau} + \log \sum_{k \ne i, j(i)} \exp(\cos(z_i, z_k) / \tau)

    with j(i) the other view of the same image.

    Args:
        z1: embeddings of view 1, (N, D), N >= 2; any scale, they are normalised here.
        z2: embeddings of view 2, (N, D).
        temperature: tau, above 0.

    Returns:
        A scalar in nats; below 0 where positives are much closer than negatives.

    Raises:
        ValueError: the shapes differ, or there is no negative.

    Reference: Yeh et al., "Decoupled Contrastive Learning", ECCV 2022, equation 6, without weights.
    """
    if z1.shape != z2.shape or z1.ndim != 2 or len(z1) < 2:
        raise ValueError(f"embeddings must share one shape (N, D), N >= 2, not {z1.shape} and {z2.shape}")
    count = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature  # (2N, 2N)
    partner = torch.arange(2 * count, device=z.device).roll(count)
    positive = logits.gather(1, partner[:, None]).squeeze(1)
    itself = torch.eye(2 * count, dtype=torch.bool, device=z.device)
    negatives = logits.masked_fill(itself | itself.roll(count, 1), float("-inf"))
    return (negatives.logsumexp(1) - positive).mean()


class DCL(SimCLR):
    """The decoupled loss on the embeddings of SimCLR's projector.

    Reference: Yeh et al., ECCV 2022; temperature 0.1 there.
    """

    loss = staticmethod(decoupled_nt_xent)
