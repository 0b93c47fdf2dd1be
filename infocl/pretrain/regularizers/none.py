"""No regulariser: the plain objective."""

from __future__ import annotations

from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.regularizers.base import Regularizer, Shapes
from infocl.pretrain.regularizers.params import RegPlugIn


class NoRegularizer(Regularizer):
    """A term that is zero."""

    def __init__(self, params: RegPlugIn, shapes: Shapes) -> None:
        super().__init__()

    def forward(self, batch: Batch) -> LossTerm:
        """Zero."""
        return LossTerm(batch.view1.features.new_zeros(()))
