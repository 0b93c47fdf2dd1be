"""The section `reg`: its name, its weight, and one block of knobs per choice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from infocl.config.base import Auto, Model


class NoneParams(Model):
    """No regulariser: nothing to set."""


class RCParams(Model):
    """Reconstruction."""

    channels: Annotated[int, Field(ge=8, le=4096)] | Auto


class LBEParams(Model):
    """Lower bound estimate of I(z; v)."""

    sigma: Annotated[float, Field(gt=0, le=100)]
    rho: Annotated[float, Field(gt=0, le=1e6)] | Auto
    level_weights: Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=3, max_length=3)]
    views: Literal["joint", "per_view"]

    @field_validator("level_weights")
    @classmethod
    def _some_level(cls, value: list[float]) -> list[float]:
        if not any(value):
            raise ValueError("must have one weight above 0; to switch the term off, set reg.weight to 0")
        return value


class RegParams(Model):
    """The regulariser: its name, its weight, and one block of knobs per choice."""

    name: Literal["none", "rc", "lbe"]
    weight: Annotated[float, Field(ge=0, le=1e6)]
    none: NoneParams
    rc: RCParams
    lbe: LBEParams
