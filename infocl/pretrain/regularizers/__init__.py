"""Regularisers of the mutual information by name; a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from infocl.config import RegParams
from infocl.pretrain.regularizers.base import Regularizer, Shapes
from infocl.pretrain.regularizers.ip import IP
from infocl.pretrain.regularizers.lbe import LBE
from infocl.pretrain.regularizers.mib import MIB
from infocl.pretrain.regularizers.mixed import MixedSamples
from infocl.pretrain.regularizers.mveb import MVEB
from infocl.pretrain.regularizers.noise import NoiseOnly
from infocl.pretrain.regularizers.none import NoRegularizer
from infocl.pretrain.regularizers.rc import RC

REGULARIZERS: dict[str, Callable[[RegParams, Shapes], Regularizer]] = {
    "none": NoRegularizer,
    "noise": NoiseOnly,
    "rc": RC,
    "lbe": LBE,
    "ip": IP,
    "mib": MIB,
    "mixed": MixedSamples,
    "mveb": MVEB,
}


def build_regularizer(params: RegParams, shapes: Shapes) -> Regularizer:
    """The regulariser that `reg.name` asks for."""
    return REGULARIZERS[params.name](params, shapes)
