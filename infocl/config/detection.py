"""The section `detection`: the optional transfer to boxes and masks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from infocl.runtime.schema import Model, Probability, Share

SplitName = Annotated[str, Field(min_length=1)]
Side = Annotated[int, Field(ge=32, le=4096)]


class DetectionParams(Model):
    """Which annotated images a detector is fine-tuned on, how, and how it is judged."""

    layout: Literal["voc", "coco"]
    root: Annotated[str, Field(min_length=1)]
    train: Annotated[list[SplitName], Field(min_length=1, max_length=20)]
    test: Annotated[list[SplitName], Field(min_length=1, max_length=20)]
    tasks: Annotated[list[Literal["boxes", "masks"]], Field(max_length=1)]
    shorter_sides: Annotated[list[Side], Field(min_length=1, max_length=50)]
    longer_side: Side
    flip_p: Probability
    iterations: Annotated[int, Field(ge=1, le=10**7)]
    batch_size: Annotated[int, Field(ge=1, le=4096)]
    lr: Annotated[float, Field(gt=0, le=100)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, le=10)]
    warmup_iterations: Annotated[int, Field(ge=0, le=10**7)]
    decay_at: Annotated[list[Share], Field(max_length=10)]
    trainable_levels: Annotated[int, Field(ge=0, le=5)]
    batch_norm: Literal["tuned", "frozen"]
    fpn_channels: Annotated[int, Field(ge=8, le=1024)]
    rois_per_image: Annotated[int, Field(ge=8, le=4096)]
    score_threshold: Annotated[float, Field(ge=0, lt=1)]
    max_detections: Annotated[int, Field(ge=1, le=1000)]

    @property
    def masks(self) -> bool:
        """Whether masks are learned beside the boxes."""
        return "masks" in self.tasks

    @field_validator("decay_at")
    @classmethod
    def _rising(cls, value: list[float]) -> list[float]:
        if value != sorted(set(value)):
            raise ValueError("must rise, such as [0.75, 0.9167]")
        return value

    @model_validator(mode="after")
    def _parts_fit(self) -> DetectionParams:
        if max(self.shorter_sides) > self.longer_side:
            raise ValueError(
                f"detection.longer_side {self.longer_side} is smaller than {max(self.shorter_sides)} of "
                "detection.shorter_sides; make it larger"
            )
        if self.warmup_iterations > self.iterations:
            raise ValueError(
                f"detection.warmup_iterations ({self.warmup_iterations}) must not exceed "
                f"detection.iterations ({self.iterations})"
            )
        return self
