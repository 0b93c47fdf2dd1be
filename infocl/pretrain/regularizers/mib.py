"""MIB, the multi-view information bottleneck: the views' posteriors must agree, a compression control."""

from __future__ import annotations

from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.regularizers.base import NoisyRegularizer, Shapes, mean_norm
from infocl.pretrain.regularizers.params import MIBParams


@full_precision
def symmetrised_kl(mu1: Tensor, mu2: Tensor, sigma: float) -> Tensor:
    r"""Symmetrised divergence of N(mu1, sigma^2 I) and N(mu2, sigma^2 I), the mean over images of

    .. math:: \tfrac12 \left(D_{KL}(p_1 \| p_2) + D_{KL}(p_2 \| p_1)\right)
        = \frac{\|\mu_1 - \mu_2\|^2}{2 \sigma^2}

    It bounds the superfluous information I(h1; v1 | v2) and I(h2; v2 | v1), their mean, from above.

    Args:
        mu1: means of view 1, (N, D), N >= 1.
        mu2: means of view 2, (N, D).
        sigma: standard deviation of both posteriors in every dimension, above 0, in the features' unit.

    Returns:
        A scalar in nats, at least 0.

    Raises:
        ValueError: the shapes differ.

    Reference: Federici et al., ICLR 2020, the loss L_MIB, for posteriors of one fixed variance.
    """
    if mu1.shape != mu2.shape or mu1.ndim != 2:
        raise ValueError(f"means must share one shape (N, D), not {mu1.shape} and {mu2.shape}")
    kl: Tensor = (mu1 - mu2).square().sum(dim=1).mean() / (2 * sigma**2)
    return kl


class MIB(NoisyRegularizer):
    """The projector sees h = mu + sigma * eps; the term is the divergence of the views' posteriors.

    Federici et al. use weights of 1e-3 to 1 with a learned sigma; with a fixed one of 0.1 the features
    start far apart, and 1e-4 pulls an encoder half as hard as SimCLR does (on the embedded data). In
    the released code of Wang et al. the term is the mean over D features of the squared difference,
    with lambda 5e-4: here that is 5e-4 * 2 sigma^2 / D, or 2e-8 at sigma 0.1 and D = 512: nearly void.
    Parts: `kl_nats`, `feature_norm`.

    Reference: Federici et al., ICLR 2020. Deviations: sigma is fixed, as in Wang et al., CVPR 2022, and
    beta constant (there it rises from 1e-3 to 1).
    """

    def __init__(self, params: MIBParams, shapes: Shapes) -> None:
        super().__init__(params.sigma, shapes)

    def forward(self, batch: Batch) -> LossTerm:
        """The divergence, from the clean means."""
        kl = symmetrised_kl(batch.view1.clean.level4, batch.view2.clean.level4, self.sigma)
        return LossTerm(kl, {"kl_nats": kl.detach(), "feature_norm": mean_norm(batch)})
