"""Regularisers by name; a new one is one file, and its knobs and a line in `params.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infocl.pretrain.regularizers.params import REGULARIZERS
from infocl.runtime.schema import PlugInSection, class_beside

if TYPE_CHECKING:
    from infocl.pretrain.regularizers.base import Regularizer, Shapes

__all__ = ["REGULARIZERS", "build_regularizer", "regularizer_class"]


def regularizer_class(name: str) -> type[Regularizer]:
    """The class in the file of that name; torch is imported here, since checking params.yaml does without."""
    from infocl.pretrain.regularizers.base import Regularizer

    found: type[Regularizer] = class_beside(__name__, name, Regularizer)
    return found


def build_regularizer(section: PlugInSection, shapes: Shapes) -> Regularizer:
    """The regulariser that `reg.name` asks for."""
    build: Any = regularizer_class(section.name)
    built: Regularizer = build(section.own, shapes)
    return built
