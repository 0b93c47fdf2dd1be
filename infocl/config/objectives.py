"""The section `objective`: its name and one block of knobs per choice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from infocl.config.base import Auto, Count, Model

# Below 0.01 the softmax over cosines is a hard maximum, and its gradient that of one pair.
Temperature = Annotated[float, Field(ge=0.01, le=100)]
Momentum = Annotated[float, Field(ge=0, le=1)]
Coefficient = Annotated[float, Field(ge=0, le=1e6)]
Width = Annotated[int, Field(ge=2, le=65536)]


class ProjectorParams(Model):
    """A projector's widths."""

    projector_hidden: Count | Auto
    projector_out: Width


class SimCLRParams(ProjectorParams):
    """NT-Xent and its projector."""

    temperature: Temperature


class DCLParams(SimCLRParams):
    """The decoupled contrastive loss and its projector."""


class BYOLParams(ProjectorParams):
    """Prediction of a momentum target."""

    predictor_hidden: Width
    momentum: Momentum


class MoCoV3Params(BYOLParams):
    """Contrast with a momentum target."""

    temperature: Temperature


class SimSiamParams(ProjectorParams):
    """Prediction with a stopped gradient."""

    predictor_hidden: Width


class BarlowTwinsParams(ProjectorParams):
    """Redundancy reduction."""

    off_diagonal: Coefficient


class VICRegParams(ProjectorParams):
    """Invariance, variance, covariance."""

    invariance: Coefficient
    variance: Coefficient
    covariance: Coefficient

    @model_validator(mode="after")
    def _some_term(self) -> VICRegParams:
        if not (self.invariance or self.variance or self.covariance):
            raise ValueError(
                "objective.vicreg.invariance, variance and covariance are all 0, so that nothing would be "
                "learned; set at least one above 0"
            )
        return self


class SupervisedParams(Model):
    """Cross-entropy on labels."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


class ObjectiveParams(Model):
    """The objective: its name and one block of knobs per choice."""

    name: Literal["simclr", "byol", "barlow_twins", "supervised", "vicreg", "simsiam", "mocov3", "dcl"]
    simclr: SimCLRParams
    byol: BYOLParams
    barlow_twins: BarlowTwinsParams
    supervised: SupervisedParams
    vicreg: VICRegParams
    simsiam: SimSiamParams
    mocov3: MoCoV3Params
    dcl: DCLParams
