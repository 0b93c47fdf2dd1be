"""Which changes of an image the audit looks for in the features, and how strong they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from infocl.runtime.schema import Model

Factor = Literal[
    "hue", "brightness", "contrast", "saturation", "position", "scale", "aspect", "orientation", "blur"
]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


def _within(lowest: float, highest: float) -> AfterValidator:
    def check(value: list[float]) -> list[float]:
        if not lowest <= value[0] < value[1] <= highest:
            raise ValueError(
                f"must be [smallest, largest], two different numbers from {lowest:g} to {highest:g}"
            )
        return value

    return AfterValidator(check)


class RangeParams(Model):
    """The limits between which each factor is drawn evenly, `aspect` by its logarithm."""

    hue: Annotated[Pair, _within(-0.5, 0.5)]
    brightness: Annotated[Pair, _within(0, 5)]
    contrast: Annotated[Pair, _within(0, 5)]
    saturation: Annotated[Pair, _within(0, 5)]
    position: Annotated[Pair, _within(-0.4, 0.4)]
    scale: Annotated[Pair, _within(0.1, 1)]
    aspect: Annotated[Pair, _within(0.2, 5)]
    orientation: Annotated[Pair, _within(-0.5, 0.5)]
    blur: Annotated[Pair, _within(0.001, 0.2)]


class AuditParams(Model):
    """What is asked, on how many images."""

    images: Annotated[int, Field(ge=20, le=1_000_000)]
    factors: list[Factor]
    ranges: RangeParams
    decoder_steps: Annotated[int, Field(ge=1, le=100_000)]

    @field_validator("factors")
    @classmethod
    def _unique(cls, value: list[Factor]) -> list[Factor]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"names {', '.join(twice)} twice; name each factor once")
        return value
