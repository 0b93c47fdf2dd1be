"""Noise only: noisy features without a term, the control for LBE and MIB."""

from __future__ import annotations

from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.regularizers.base import NoisyRegularizer, Shapes
from infocl.pretrain.regularizers.params import NoiseParams


class NoiseOnly(NoisyRegularizer):
    """The projector sees noisy features; the term is zero.

    Whatever LBE or MIB of the same sigma gain over this is due to their terms, not to the noise: with
    `reg.weight` 0 they equal this run bit for bit.

    Reference: Wang et al., CVPR 2022, the control "noise only" with sigma 0.1.
    """

    def __init__(self, params: NoiseParams, shapes: Shapes) -> None:
        super().__init__(params.sigma, shapes)

    def forward(self, batch: Batch) -> LossTerm:
        """Zero."""
        return LossTerm(batch.view1.features.new_zeros(()))
