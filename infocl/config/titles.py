"""Methods as people write them."""

from __future__ import annotations

from infocl.pretrain.objectives.params import OBJECTIVES
from infocl.pretrain.regularizers.params import REGULARIZERS


def objective_title(name: str) -> str:
    """Such as "MoCo v3"; the name itself where there is no such objective any more."""
    return OBJECTIVES[name].title if name in OBJECTIVES else name


def regularizer_title(name: str) -> str:
    """Such as "noise only"; the name itself where there is no such regulariser any more."""
    return REGULARIZERS[name].title if name in REGULARIZERS else name


def has_weight(regularizer: str) -> bool:
    """Whether `reg.weight` has an effect."""
    return regularizer not in REGULARIZERS or REGULARIZERS[regularizer].usual_weight is not None


def method(objective: str, regularizer: str, weight: float) -> str:
    """How the encoder was trained, such as "SimCLR + LBE (λ = 1)"."""
    name = objective_title(objective)
    if regularizer == "none":
        return f"{name} without regulariser"
    added = f"{name} + {regularizer_title(regularizer)}"
    return f"{added} (λ = {weight:g})" if has_weight(regularizer) else added
