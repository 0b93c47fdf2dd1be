"""IP, the information penalty: pulls the two views' representations together, a compression control."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.regularizers.base import Regularizer, Shapes, mean_norm
from infocl.pretrain.regularizers.params import IPParams


@full_precision
def relative_distance(h1: Tensor, h2: Tensor) -> Tensor:
    r"""Squared distance of the views, as a share of what two unrelated images would have:

    .. math:: \frac{\frac1N \sum_i \|h_{1,i} - h_{2,i}\|^2}
        {2 \cdot \frac{1}{2N} \sum_{v, i} \|h_{v,i} - \bar h\|^2}

    with the mean over both views. It is a squared distance without a unit: features that merely shrink
    do not lower it, since the gradient passes through the denominator too.

    Args:
        h1: representations of view 1, (N, D), N >= 1.
        h2: representations of view 2, (N, D).

    Returns:
        A scalar in 0..2: 0 when the views agree, about 1 when they are unrelated, 2 when they are
        opposite, and 0 when all features are equal.

    Raises:
        ValueError: the shapes differ.
    """
    if h1.shape != h2.shape or h1.ndim != 2:
        raise ValueError(f"representations must share one shape (N, D), not {h1.shape} and {h2.shape}")
    both = torch.cat([h1, h2])
    variance = both.var(dim=0, correction=0).sum()
    distance = (h1 - h2).square().sum(dim=1).mean()
    relative: Tensor = distance / (2 * variance).clamp_min(torch.finfo(distance.dtype).tiny)
    return relative


@full_precision
def mean_squared_difference(h1: Tensor, h2: Tensor) -> Tensor:
    """Squared difference averaged over images and features, (N, D) each: the released code's penalty."""
    return F.mse_loss(h1, h2)


class IP(Regularizer):
    """Minimises the distance between h1 and h2, and so the information about one view only.

    `distance: relative` is `relative_distance`, on which a weight means the same at any width and
    scale of the features: 0.1 to 10 beside a contrastive loss of a few nats. `mean_squared` is the
    released code's, where the paper's lambda 5e-4 divides by the width besides and so all but vanishes:
    it equals 5e-4 * 2 * (mean variance of a feature) of `relative`. Parts: `relative_distance`,
    `feature_norm`.

    Reference: the term of Wang et al., CVPR 2022, "IP", after inverse predictive learning, Tsai et al.,
    ICLR 2021. Deviation: the scale, as said above.
    """

    def __init__(self, params: IPParams, shapes: Shapes) -> None:
        super().__init__()
        self.distance = params.distance

    def forward(self, batch: Batch) -> LossTerm:
        """The chosen distance between the views."""
        h1, h2 = batch.view1.features, batch.view2.features
        relative = relative_distance(h1, h2)
        value = relative if self.distance == "relative" else mean_squared_difference(h1, h2)
        return LossTerm(value, {"relative_distance": relative.detach(), "feature_norm": mean_norm(batch)})
