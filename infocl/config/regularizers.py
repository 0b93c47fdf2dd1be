"""The section `reg`: its name, its weight, and one block of knobs per choice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from infocl.config.base import Auto, Model

Sigma = Annotated[float, Field(gt=0, le=100)]


class NoneParams(Model):
    """No regulariser: nothing to set."""


class NoiseParams(Model):
    """Noise on the features and no term."""

    sigma: Sigma


class RCParams(Model):
    """Reconstruction."""

    channels: Annotated[int, Field(ge=8, le=4096)] | Auto


class LBEParams(Model):
    """Lower bound estimate of I(z; v)."""

    sigma: Sigma
    rho: Annotated[float, Field(gt=0, le=1e6)] | Auto
    level_weights: Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=3, max_length=3)]
    views: Literal["joint", "per_view"]

    @field_validator("level_weights")
    @classmethod
    def _some_level(cls, value: list[float]) -> list[float]:
        if not any(value):
            raise ValueError("must have one weight above 0; to switch the term off, set reg.weight to 0")
        return value


class IPParams(Model):
    """Information penalty."""

    distance: Literal["relative", "mean_squared"]


class MIBParams(Model):
    """Symmetrised divergence of the views' posteriors."""

    sigma: Sigma


class MixedParams(Model):
    """Mixed samples."""

    scale: Annotated[float, Field(gt=0, le=1e6)]


class MVEBParams(Model):
    """Entropy of the embeddings."""

    # below these the kernel matrix of a few thousand embeddings is singular in float64
    min_temperature: Annotated[float, Field(ge=0.05, le=100)]
    ridge: Annotated[float, Field(ge=1e-3, le=1e6)]


class RegParams(Model):
    """The regulariser: its name, its weight, and one block of knobs per choice."""

    name: Literal["none", "noise", "rc", "lbe", "ip", "mib", "mixed", "mveb"]
    weight: Annotated[float, Field(ge=0, le=1e6)]
    none: NoneParams
    noise: NoiseParams
    rc: RCParams
    lbe: LBEParams
    ip: IPParams
    mib: MIBParams
    mixed: MixedParams
    mveb: MVEBParams
