"""VICReg: invariance of the views, variance of every dimension, no covariance between them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.objectives.base import Objective, bn_mlp, hidden_width, off_diagonal_squares
from infocl.pretrain.objectives.params import VICRegParams

EPSILON = 1e-4  # Bardes et al. 2022, equation 2


@full_precision
def variance_hinge(z: Tensor) -> Tensor:
    """Mean over dimensions of max(0, 1 - sqrt(var + 1e-4)), in 0..1, of embeddings (N, P), N >= 2."""
    return F.relu(1 - (z.var(0) + EPSILON).sqrt()).mean()


@full_precision
def covariance_penalty(z: Tensor) -> Tensor:
    """Sum of the squared covariances of different dimensions, divided by P, of embeddings (N, P), N >= 2."""
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (len(z) - 1)
    return off_diagonal_squares(covariance) / z.shape[1]


class VICReg(Objective):
    r"""On the embeddings of a three-layer expander,

    .. math:: \lambda \, \mathrm{MSE}(z_1, z_2) + \frac{\mu}{2} [v(z_1) + v(z_2)] + \nu [c(z_1) + c(z_2)]

    with v the variance hinge and c the covariance penalty. Parts: each of the three without its weight.

    Reference: Bardes, Ponce and LeCun, "VICReg", ICLR 2022, equations 1 to 6; weights 25, 25, 1 there.
    The released code takes the mean squared error over dimensions and the mean hinge of both views; so
    does this.
    """

    def __init__(self, params: VICRegParams, dim: int, classes: int) -> None:
        super().__init__(params, dim, classes)
        self.weights = (params.invariance, params.variance, params.covariance)
        hidden = hidden_width(dim, params.projector_hidden)
        self.projector = bn_mlp([dim, hidden, hidden, params.projector_out])

    def forward(self, batch: Batch) -> LossTerm:
        """The weighted sum of the three terms."""
        z1, z2 = self.embed(batch.features).chunk(2)
        terms = {
            "invariance": F.mse_loss(z1, z2),
            "variance": (variance_hinge(z1) + variance_hinge(z2)) / 2,
            "covariance": covariance_penalty(z1) + covariance_penalty(z2),
        }
        value = torch.stack(
            [weight * term for weight, term in zip(self.weights, terms.values(), strict=True)]
        ).sum()
        return LossTerm(value, {name: term.detach() for name, term in terms.items()})
