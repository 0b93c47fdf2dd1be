"""Contrastive objectives by name; a new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable

from infocl.config import ObjectiveParams
from infocl.objectives.base import Objective
from infocl.objectives.simclr import SimCLR

OBJECTIVES: dict[str, Callable[[ObjectiveParams, int, int], Objective]] = {
    "simclr": SimCLR,
}


def build_objective(params: ObjectiveParams, dim: int, classes: int) -> Objective:
    """The objective of `objective.name`, on features of width `dim`; 0 classes: unlabelled data."""
    return OBJECTIVES[params.name](params, dim, classes)
