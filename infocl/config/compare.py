"""What the trained encoder is compared with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infocl.runtime.schema import Model


class CompareParams(Model):
    """Whether a plain encoder is trained too, and how many untrained ones are judged."""

    plain: bool
    untrained: Annotated[int, Field(ge=0, le=20)]
