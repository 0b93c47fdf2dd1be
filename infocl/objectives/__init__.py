"""Contrastive objectives by name; a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from infocl.config import ObjectiveParams
from infocl.objectives.base import Objective
from infocl.objectives.simclr import SimCLR

OBJECTIVES: dict[str, Callable[[ObjectiveParams, int], Objective]] = {
    "simclr": SimCLR,
}


def build_objective(params: ObjectiveParams, dim: int) -> Objective:
    """The objective that `objective.name` asks for, on features of width `dim`."""
    return OBJECTIVES[params.name](params, dim)
