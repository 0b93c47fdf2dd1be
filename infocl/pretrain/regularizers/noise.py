"""Noise only: noisy features without a term, the control for LBE and MIB."""

from __future__ import annotations

import torch

from infocl.encoder.network import Levels
from infocl.pretrain.regularizers.base import Shapes, add_noise
from infocl.pretrain.regularizers.none import NoRegularizer
from infocl.pretrain.regularizers.params import NoiseParams


class NoiseOnly(NoRegularizer):
    """The projector sees h = mu + sigma * eps, eps ~ N(0, I); the term is zero.

    Whatever LBE or MIB of the same sigma gain over this is due to their terms, not to the noise: with
    `reg.weight` 0 they equal this run bit for bit.

    Reference: Wang et al., CVPR 2022, the control "noise only" with sigma 0.1.
    """

    changes_forward = True

    def __init__(self, params: NoiseParams, shapes: Shapes) -> None:
        super().__init__(params, shapes)
        self.sigma = params.sigma

    def perturb(self, levels: Levels, generator: torch.Generator) -> Levels:
        """mu + sigma * eps, eps ~ N(0, I), at every level."""
        return add_noise(levels, self.sigma, generator)
