"""What is exported, and the limits that every variant is held to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infocl.runtime.schema import Model, Probability

Error = Annotated[float, Field(gt=0, le=1)]


class ErrorLimits(Model):
    """The largest error of each variant, of the worst image."""

    float32: Error
    float16: Error
    int8: Error


class AgreementLimits(Model):
    """The smallest share of images of each variant."""

    float32: Probability
    float16: Probability
    int8: Probability


class ExportParams(Model):
    """The ONNX files and their proof."""

    opset: Annotated[int, Field(ge=18, le=23)]
    parity_images: Annotated[int, Field(ge=1, le=10_000)]
    calibration_images: Annotated[int, Field(ge=1, le=100_000)]
    probe_images: Annotated[int, Field(ge=100, le=1_000_000)]
    drift_images: Annotated[int, Field(ge=0, le=10_000)]
    max_relative_error: ErrorLimits
    max_cosine_distance: ErrorLimits
    min_neighbour_agreement: AgreementLimits
    max_accuracy_drop: Probability
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")]
    signing_key: str
