"""Contrastive objectives by name; a new one is one file, and its knobs and a line in `params.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infocl.pretrain.objectives.params import OBJECTIVES
from infocl.runtime.schema import PlugInSection, class_beside

if TYPE_CHECKING:
    from infocl.pretrain.objectives.base import Objective

__all__ = ["OBJECTIVES", "build_objective", "objective_class"]


def objective_class(name: str) -> type[Objective]:
    """The class in the file of that name; torch is imported here, since checking params.yaml does without."""
    from infocl.pretrain.objectives.base import Objective

    found: type[Objective] = class_beside(__name__, name, Objective)
    return found


def build_objective(section: PlugInSection, dim: int, classes: int) -> Objective:
    """The objective of `objective.name`, on features of width `dim`; 0 classes: unlabelled data."""
    build: Any = objective_class(section.name)
    built: Objective = build(section.own, dim, classes)
    return built
