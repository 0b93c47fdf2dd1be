"""LBE: raises a lower bound estimate of I(z; v) from noisy features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm, View
from infocl.pretrain.regularizers.base import NoisyRegularizer, Shapes, mean_norm
from infocl.pretrain.regularizers.params import LBEParams

RHO_TIMES_WIDTH = 25.6  # rho 0.05 at D = 512 and 1/80 at D = 2048 (Wang et al. 2022) are both 25.6 / D


@full_precision
def mi_lower_bound(noisy: Tensor, mean: Tensor, rho: float) -> Tensor:
    r"""Lower bound on I(h; v) for h = mu(v) + noise, with a Gaussian critic:

    .. math:: \frac1N \sum_k \log \frac{e^{-\rho \|h_k - \mu_k\|^2}}
        {\frac1N \sum_j e^{-\rho \|h_k - \mu_j\|^2}}

    The squared distances come from one matrix product, after both sides were moved to the centre of
    the means, which leaves them as they are and keeps the product free of cancellation.

    Args:
        noisy: h, (N, D).
        mean: mu, (N, D); row k is where h_k came from.
        rho: sharpness of the critic, above 0, per squared unit of the features.

    Returns:
        A scalar in nats, never above log N. Memory O(N^2 + N D).

    Raises:
        ValueError: the shapes differ.

    Reference: Wang et al., CVPR 2022, the LBE term; the released code keeps the logsumexp alone,
    whose gradient is the same for noise of fixed strength.
    """
    if noisy.shape != mean.shape or mean.ndim != 2:
        raise ValueError(f"noisy and mean must share one shape (N, D), not {noisy.shape} and {mean.shape}")
    center = mean.mean(dim=0, keepdim=True).detach()
    h, mu = noisy - center, mean - center
    squared = h.square().sum(1)[:, None] + mu.square().sum(1)[None, :] - 2 * h @ mu.T  # (N, N)
    logits = -rho * squared.clamp_min(0)
    bound: Tensor = (logits.diagonal() - logits.logsumexp(dim=1)).mean() + math.log(len(mean))
    return bound


class LBE(NoisyRegularizer):
    """Adds Gaussian noise to the pooled features and raises the bound on I(h; v) at chosen levels.

    `views: joint` takes both views of a batch as one batch of 2N, as released: the two views of an
    image are then negatives of each other. `per_view` sums one bound for each view, as the
    derivation reads. Parts (in nats, the mean of both bounds for `per_view`): `mi_bound_nats` and
    `mi_ceiling_nats` = log N of level 4, `mi_bound_nats_level2` and `_level3` where weighted;
    `feature_norm`, because the bound saturates when features merely grow.

    Reference: Wang et al., CVPR 2022.
    """

    def __init__(self, params: LBEParams, shapes: Shapes) -> None:
        super().__init__(params.sigma, shapes)
        self.views = params.views
        self.level_weights = params.level_weights
        self.rhos = [RHO_TIMES_WIDTH / d if params.rho == "auto" else params.rho for d in shapes.level_dims]

    def forward(self, batch: Batch) -> LossTerm:
        """Minus the weighted bounds."""
        views = batch.views
        value = views[0].features.new_zeros(())
        parts = {"feature_norm": mean_norm(batch)}
        for index, weight in enumerate(self.level_weights):
            if weight == 0:
                continue
            bounds = self._bounds(views, index)
            value = value - weight * bounds.sum()
            suffix = "" if index == 2 else f"_level{index + 2}"
            parts[f"mi_bound_nats{suffix}"] = bounds.detach().mean()
        rows = len(views[0].features) * (len(views) if self.views == "joint" else 1)
        # A fill, not a copy from the host, for which a GPU's host would wait.
        parts["mi_ceiling_nats"] = value.new_full((), math.log(rows))
        return LossTerm(value, parts)

    def _bounds(self, views: Sequence[View], level: int) -> Tensor:
        """One bound over all views, (1,), or one of each, (views,)."""
        noisy = [view.levels[level] for view in views]
        clean = [view.clean[level] for view in views]
        if self.views == "joint":
            noisy, clean = [torch.cat(noisy)], [torch.cat(clean)]
        return torch.stack(
            [mi_lower_bound(h, mu, self.rhos[level]) for h, mu in zip(noisy, clean, strict=True)]
        )
