"""Contrastive objectives by name; a new one is one file and one line here."""

from __future__ import annotations

from infocl.config import ObjectiveParams
from infocl.pretrain.objectives.barlow_twins import BarlowTwins
from infocl.pretrain.objectives.base import Objective
from infocl.pretrain.objectives.byol import BYOL
from infocl.pretrain.objectives.dcl import DCL
from infocl.pretrain.objectives.mocov3 import MoCoV3
from infocl.pretrain.objectives.simclr import SimCLR
from infocl.pretrain.objectives.simsiam import SimSiam
from infocl.pretrain.objectives.supervised import Supervised
from infocl.pretrain.objectives.vicreg import VICReg

OBJECTIVES: dict[str, type[Objective]] = {
    "simclr": SimCLR,
    "byol": BYOL,
    "barlow_twins": BarlowTwins,
    "supervised": Supervised,
    "vicreg": VICReg,
    "simsiam": SimSiam,
    "mocov3": MoCoV3,
    "dcl": DCL,
}


def build_objective(params: ObjectiveParams, dim: int, classes: int) -> Objective:
    """The objective of `objective.name`, on features of width `dim`; 0 classes: unlabelled data."""
    return OBJECTIVES[params.name](params, dim, classes)
