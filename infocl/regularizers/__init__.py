"""Regularisers of the mutual information by name; a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from infocl.config import RegParams
from infocl.regularizers.base import Regularizer, Shapes
from infocl.regularizers.lbe import LBE
from infocl.regularizers.none import NoRegularizer
from infocl.regularizers.rc import RC

REGULARIZERS: dict[str, Callable[[RegParams, Shapes], Regularizer]] = {
    "none": NoRegularizer,
    "rc": RC,
    "lbe": LBE,
}


def build_regularizer(params: RegParams, shapes: Shapes) -> Regularizer:
    """The regulariser that `reg.name` asks for."""
    return REGULARIZERS[params.name](params, shapes)
