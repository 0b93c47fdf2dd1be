"""The section `objective`: its name and one block of knobs per choice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from infocl.config.base import Auto, Count, Model


class SimCLRParams(Model):
    """NT-Xent and its projector."""

    temperature: Annotated[float, Field(gt=0, le=100)]
    projector_hidden: Count | Auto
    projector_out: Annotated[int, Field(ge=2, le=65536)]


class ObjectiveParams(Model):
    """The contrastive objective: its name and one block of knobs per choice."""

    name: Literal["simclr"]
    simclr: SimCLRParams
