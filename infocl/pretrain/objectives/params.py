"""The knobs of each objective, with their types and ranges; loads without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from infocl.runtime.schema import Auto, Count, PlugIn

# Below 0.01 the softmax over cosines is a hard maximum, and its gradient that of one pair.
Temperature = Annotated[float, Field(ge=0.01, le=100)]
Momentum = Annotated[float, Field(ge=0, le=1)]
Coefficient = Annotated[float, Field(ge=0, le=1e6)]
Width = Annotated[int, Field(ge=2, le=65536)]


class ProjectorParams(PlugIn):
    """A projector's widths."""

    projector_hidden: Count | Auto
    projector_out: Width


class SimCLRParams(ProjectorParams):
    """NT-Xent and its projector."""

    title = "SimCLR"

    temperature: Temperature


class DCLParams(SimCLRParams):
    """The decoupled contrastive loss and its projector."""

    title = "DCL"


class BYOLParams(ProjectorParams):
    """Prediction of a momentum target."""

    title = "BYOL"

    predictor_hidden: Width
    momentum: Momentum


class MoCoV3Params(BYOLParams):
    """Contrast with a momentum target."""

    title = "MoCo v3"

    temperature: Temperature


class SimSiamParams(ProjectorParams):
    """Prediction with a stopped gradient."""

    title = "SimSiam"

    predictor_hidden: Width


class BarlowTwinsParams(ProjectorParams):
    """Redundancy reduction."""

    title = "Barlow Twins"

    off_diagonal: Coefficient
    correlation: Literal["plain", "released"]


class VICRegParams(ProjectorParams):
    """Invariance, variance, covariance."""

    title = "VICReg"

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


class SpectralParams(ProjectorParams):
    """The spectral contrastive loss and its projector."""

    title = "Spectral"

    radius: Annotated[float, Field(gt=0, le=1e3)]


class SupervisedParams(PlugIn):
    """Cross-entropy on labels."""

    title = "Supervised"

    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    views: Literal[1, 2]


OBJECTIVES: dict[str, type[PlugIn]] = {
    "simclr": SimCLRParams,
    "byol": BYOLParams,
    "barlow_twins": BarlowTwinsParams,
    "supervised": SupervisedParams,
    "vicreg": VICRegParams,
    "simsiam": SimSiamParams,
    "mocov3": MoCoV3Params,
    "dcl": DCLParams,
    "spectral": SpectralParams,
}
