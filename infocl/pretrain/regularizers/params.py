"""The knobs of each regulariser, with their types and ranges; loads without torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from infocl.encoder.sizes import PUBLISHED_DECODERS, decoder_start
from infocl.runtime.schema import Auto, PlugIn

Sigma = Annotated[float, Field(gt=0, le=100)]


class RegPlugIn(PlugIn):
    """What all regularisers tell of themselves.

    Attributes:
        usual_weight: the largest that is usual for its term; None where it has no term.
        least_views: of an image in a batch that its term needs.
    """

    usual_weight: ClassVar[float | None] = 1.0
    least_views: ClassVar[int] = 1


class NoneParams(RegPlugIn):
    """No regulariser: nothing to set."""

    title = "no regulariser"
    usual_weight = None


class NoiseParams(RegPlugIn):
    """Noise on the features and no term."""

    title = "noise only"
    usual_weight = None

    sigma: Sigma


class RCParams(RegPlugIn):
    """Reconstruction."""

    title = "RC"

    decoder: Literal["light", "published"]
    channels: Annotated[int, Field(ge=8, le=4096)] | Auto

    def require_fit(self, image_size: int) -> None:
        """Refuse sizes that the decoder cannot reach."""
        if self.decoder == "published" and image_size not in PUBLISHED_DECODERS:
            raise ValueError(
                f"data.image_size {image_size} has no published decoder; use "
                f"{', '.join(map(str, PUBLISHED_DECODERS))}, or reg.rc.decoder light"
            )
        if decoder_start(image_size) is None:
            raise ValueError(
                f"data.image_size {image_size} cannot be reconstructed by reg.name rc, whose decoder doubles "
                "4 or 7 px; use 8, 16, 32, 64, 128, 256, 14, 28, 56, 112 or 224, or another regulariser"
            )


class LBEParams(RegPlugIn):
    """Lower bound estimate of I(z; v)."""

    title = "LBE"

    sigma: Sigma
    critic: Literal["features", "pixels"]
    rho: Annotated[float, Field(gt=0, le=1e6)] | Auto
    level_weights: Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=3, max_length=3)]
    views: Literal["joint", "per_view"]

    @field_validator("level_weights")
    @classmethod
    def _some_level(cls, value: list[float]) -> list[float]:
        if not any(value):
            raise ValueError("must have one weight above 0; to switch the term off, set reg.weight to 0")
        return value


class IPParams(RegPlugIn):
    """Information penalty."""

    title = "IP"
    least_views = 2

    distance: Literal["relative", "mean_squared"]


class MIBParams(RegPlugIn):
    """Symmetrised divergence of the views' posteriors."""

    title = "MIB"
    usual_weight = 1e-3
    least_views = 2

    sigma: Sigma


class MixedParams(RegPlugIn):
    """Mixed samples."""

    title = "mixed samples"
    least_views = 2

    scale: Annotated[float, Field(gt=0, le=1e6)]


class MVEBParams(RegPlugIn):
    """Entropy of the embeddings."""

    title = "MVEB entropy"
    usual_weight = 1e-2

    # below these the kernel matrix of a few thousand embeddings is singular in float64
    min_temperature: Annotated[float, Field(ge=0.05, le=100)]
    ridge: Annotated[float, Field(ge=1e-3, le=1e6)]


class AugSelfParams(RegPlugIn):
    """What differed between the views' augmentations."""

    title = "AugSelf"
    least_views = 2

    crop: Annotated[float, Field(ge=0, le=1e6)]
    color: Annotated[float, Field(ge=0, le=1e6)]
    flip: Annotated[float, Field(ge=0, le=1e6)]
    hidden: Annotated[int, Field(ge=1, le=16384)]

    @model_validator(mode="after")
    def _some_part(self) -> AugSelfParams:
        if not self.crop + self.color + self.flip:
            raise ValueError(
                "reg.augself needs crop, color or flip above 0; to switch the term off, set reg.weight to 0"
            )
        return self


REGULARIZERS: dict[str, type[RegPlugIn]] = {
    "none": NoneParams,
    "noise": NoiseParams,
    "rc": RCParams,
    "lbe": LBEParams,
    "ip": IPParams,
    "mib": MIBParams,
    "mixed": MixedParams,
    "mveb": MVEBParams,
    "augself": AugSelfParams,
}
