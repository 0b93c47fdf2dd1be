"""LBE: raises a lower bound estimate of I(z; v) from noisy features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infocl.encoder.numerics import VARIANCE_FLOOR, full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.regularizers.base import NoisyRegularizer, Shapes, mean_norm
from infocl.pretrain.regularizers.params import LBEParams

GRID = 4  # places along each side of a view whose colours the critic of pixels asks for
# Luma, and the two differences of colours that are orthogonal to it and to each other.
OPPONENT = ((3**-0.5,) * 3, (2**-0.5, -(2**-0.5), 0.0), (6**-0.5, 6**-0.5, -2 * 6**-0.5))
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


@full_precision
def value_bound(predicted: Tensor, values: Tensor, log_rho: Tensor) -> Tensor:
    r"""Lower bound on I(h; v): the mean over K values t of the view of that on I(h; t), by a Gaussian critic:

    .. math:: \frac1{KN} \sum_{c,k} \log \frac{e^{s_{kk}^c}}{\frac1N \sum_j e^{s_{kj}^c}},
        \qquad s_{kj}^c = -\rho_c (g_c(h_k) - t_{jc})^2

    A value is a function of its view, so that none of these tells more of h than the view does.

    Args:
        predicted: g(h), (N, K).
        values: t, (N, K); row k is of the view that h_k came from.
        log_rho: logarithm of each critic's sharpness, (K,).

    Returns:
        A scalar in nats, never above log N. Memory O(K N^2).

    Raises:
        ValueError: the shapes differ.

    Reference: van den Oord et al., arXiv 1807.03748 (InfoNCE).
    """
    if predicted.shape != values.shape or values.ndim != 2:
        raise ValueError(
            f"predicted and values must share one shape (N, K), not {predicted.shape} and {values.shape}"
        )
    squared = (predicted.T[:, :, None] - values.T[:, None, :]).square()  # (K, N, N)
    logits = -log_rho.exp()[:, None, None] * squared
    own = logits.diagonal(dim1=1, dim2=2)
    bound: Tensor = (own - logits.logsumexp(dim=2)).mean() + math.log(len(values))
    return bound


@full_precision
def coarse_colors(pixels: Tensor, opponent: Tensor) -> Tensor:
    """Views (N, 3, H, W) as (N, 3, P): luma and two chromas, the means of `GRID` x `GRID` areas."""
    return opponent @ F.adaptive_avg_pool2d(pixels, GRID).flatten(2)


@full_precision
def each_color_standardised(colors: Tensor) -> Tensor:
    """(N, 3, P) as (N, 3 P), each colour with mean 0 and variance 1 over images and places."""
    variance, mean = torch.var_mean(colors, dim=(0, 2), correction=0, keepdim=True)
    return ((colors - mean) / (variance + VARIANCE_FLOOR).sqrt()).flatten(1)


class PixelCritic(nn.Module):
    """Predicts the coarse colours of a view, linearly, from features (N, dim), and how sharply."""

    opponent: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.head = nn.Linear(dim, 3 * GRID**2)
        self.log_rho = nn.Parameter(torch.full((3 * GRID**2,), -math.log(2)))  # of unit variance
        self.register_buffer("opponent", torch.tensor(OPPONENT))

    @full_precision
    def bound(self, h: Tensor, values: Tensor) -> Tensor:
        """The bound of features (N, dim) on these values (N, 3 P) of their views."""
        return value_bound(self.head(h), values, self.log_rho)


class LBE(NoisyRegularizer):
    """Adds Gaussian noise to the pooled features and raises a bound on I(h; v) at chosen levels.

    `critic: features`, the published one, asks by distance which mean the noisy feature belongs to. Means
    that differ at all, in whatever, reach its ceiling by growing, so that nothing forces in what the
    objective drops. `critic: pixels` asks instead, by the same kind of critic, which view has such a luma or
    chroma at a place, for each of 4 x 4 places and each of three orthogonal colours, all of one variance: a
    linear function of h must tell each of them, and growing does not help. Its bound is the mean of them.

    `views: joint` takes both views of a batch as one batch of 2N, as released: the two views of an
    image are then negatives of each other, which differ in just what views do not share. `per_view` sums
    one bound for each view, as the derivation reads. Parts (in nats, the mean of both bounds for
    `per_view`): `mi_bound_nats` and `mi_ceiling_nats` = log N of level 4, `mi_bound_nats_level2` and
    `_level3` where weighted; `feature_norm`, because the published bound saturates when features merely
    grow.

    Reference: Wang et al., CVPR 2022; the critic of pixels is of this project, its bound InfoNCE's.
    """

    def __init__(self, params: LBEParams, shapes: Shapes) -> None:
        super().__init__(params.sigma, shapes)
        self.views = params.views
        self.level_weights = params.level_weights
        self.rhos = [RHO_TIMES_WIDTH / d if params.rho == "auto" else params.rho for d in shapes.level_dims]
        dims = enumerate(shapes.level_dims) if params.critic == "pixels" else ()
        self.critics = nn.ModuleDict(
            {str(level): PixelCritic(dim) for level, dim in dims if params.level_weights[level]}
        )

    def forward(self, batch: Batch) -> LossTerm:
        """Minus the weighted bounds."""
        views = batch.views
        value = views[0].features.new_zeros(())
        parts = {"feature_norm": mean_norm(batch)}
        for index, weight in enumerate(self.level_weights):
            if weight == 0:
                continue
            bounds = self._bounds(batch, index)
            value = value - weight * bounds.sum()
            suffix = "" if index == 2 else f"_level{index + 2}"
            parts[f"mi_bound_nats{suffix}"] = bounds.detach().mean()
        rows = len(views[0].features) * (len(views) if self.views == "joint" else 1)
        # A fill, not a copy from the host, for which a GPU's host would wait.
        parts["mi_ceiling_nats"] = value.new_full((), math.log(rows))
        return LossTerm(value, parts)

    def _bounds(self, batch: Batch, level: int) -> Tensor:
        """One bound over all views, (1,), or one of each, (views,)."""
        noisy = [view.levels[level] for view in batch.views]
        if not self.critics:
            pairs = self._together(noisy, [view.clean[level] for view in batch.views])
            return torch.stack([mi_lower_bound(h, mu, self.rhos[level]) for h, mu in pairs])
        critic = cast("PixelCritic", self.critics[str(level)])
        colors = [batch.group.gather(coarse_colors(view.pixels, critic.opponent)) for view in batch.views]
        values = each_color_standardised(torch.cat(colors)).chunk(len(batch.views))
        return torch.stack([critic.bound(h, of_view) for h, of_view in self._together(noisy, values)])

    def _together(self, noisy: Sequence[Tensor], sources: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """What is contrasted with what: all views at once, or each by itself."""
        if self.views == "joint":
            return [(torch.cat(list(noisy)), torch.cat(list(sources)))]
        return list(zip(noisy, sources, strict=True))
