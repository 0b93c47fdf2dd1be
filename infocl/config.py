"""The typed schema of params.yaml: what may be set, and in which range."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DataName = Literal["scenes", "cifar10", "cifar100", "stl10", "fashionmnist", "folder"]
TargetName = Literal[
    "hue",
    "position",
    "scale",
    "tilt",
    "scenery",
    "digits",
    "photos",
    "cifar10",
    "cifar100",
    "stl10",
    "fashionmnist",
]
Stem = Literal["cifar", "stl", "imagenet"]
STEM_STRIDE: dict[Stem, int] = {"cifar": 1, "stl": 2, "imagenet": 4}

Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Auto = Literal["auto"]


class Model(BaseModel):
    """Strict, frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ScenesParams(Model):
    """The embedded data set's size and seed."""

    train_images: Annotated[int, Field(ge=20, le=1_000_000)]
    test_images: Annotated[int, Field(ge=20, le=1_000_000)]
    seed: Seed


class FolderParams(Model):
    """How a folder of images is split when it does not come split."""

    test_share: Share


class DataParams(Model):
    """Which images are learned from."""

    name: DataName
    root: Annotated[str, Field(min_length=1)]
    image_size: Annotated[int, Field(ge=8, le=1024)]
    scenes: ScenesParams
    folder: FolderParams


class ViewParams(Model):
    """Strengths of the augmentations that make a view."""

    crop_scale: Annotated[list[float], Field(min_length=2, max_length=2)]
    crop_ratio: Annotated[list[float], Field(min_length=2, max_length=2)]
    flip_p: Probability
    jitter_p: Probability
    brightness: Strength
    contrast: Strength
    saturation: Strength
    hue: Annotated[float, Field(ge=0, le=0.5)]
    grayscale_p: Probability

    @field_validator("crop_scale")
    @classmethod
    def _area(cls, value: list[float]) -> list[float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("must be [smallest, largest] with 0 < smallest <= largest <= 1")
        return value

    @field_validator("crop_ratio")
    @classmethod
    def _ratio(cls, value: list[float]) -> list[float]:
        if not 0.1 <= value[0] <= value[1] <= 10:
            raise ValueError("must be [smallest, largest] with 0.1 <= smallest <= largest <= 10")
        return value


class EncoderParams(Model):
    """The residual network."""

    arch: Literal["resnet18", "resnet34", "resnet50"]
    stem: Stem
    width: Annotated[float, Field(ge=0.0625, le=4)]


class SimCLRParams(Model):
    """NT-Xent and its projector."""

    temperature: Annotated[float, Field(gt=0, le=100)]
    projector_hidden: Count | Auto
    projector_out: Annotated[int, Field(ge=2, le=65536)]


class ObjectiveParams(Model):
    """The contrastive objective: its name and one block of knobs per choice."""

    name: Literal["simclr"]
    simclr: SimCLRParams


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


class OptimizerParams(Model):
    """The optimiser."""

    name: Literal["adam", "adamw", "sgd"]
    lr: Annotated[float, Field(gt=0, le=1000)]
    weight_decay: Annotated[float, Field(ge=0, le=10)]
    momentum: Annotated[float, Field(ge=0, lt=1)]


class ScheduleParams(Model):
    """The learning rate's course."""

    name: Literal["constant", "cosine"]
    warmup_epochs: Annotated[float, Field(ge=0, le=100_000)]


class TrainParams(Model):
    """The pretraining loop."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=2, le=10**6)]
    optimizer: OptimizerParams
    schedule: ScheduleParams
    precision: Literal["bf16", "fp32"]
    compile: bool
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    checkpoint_minutes: Annotated[float, Field(gt=0, le=10_000)]

    @model_validator(mode="after")
    def _warmup_fits(self) -> TrainParams:
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(
                f"train.schedule.warmup_epochs ({self.schedule.warmup_epochs:g}) must not exceed "
                f"train.epochs ({self.epochs})"
            )
        return self


class ProbeParams(Model):
    """The evaluation protocol."""

    l2: Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1, max_length=50)]
    validation_share: Annotated[float, Field(gt=0, le=0.5)]
    max_iterations: Annotated[int, Field(ge=1, le=100_000)]
    knn_k: Annotated[int, Field(ge=1, le=10_000)]
    knn_temperature: Annotated[float, Field(gt=0, le=100)]


class TransferParams(Model):
    """Which targets the encoder is tried on."""

    root: Annotated[str, Field(min_length=1)]
    targets: Annotated[list[TargetName], Field(min_length=1)]

    @field_validator("targets")
    @classmethod
    def _unique(cls, value: list[TargetName]) -> list[TargetName]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"names {', '.join(twice)} twice; name each target once")
        return value


class ExportParams(Model):
    """The ONNX file and its proof."""

    opset: Annotated[int, Field(ge=18, le=23)]
    parity_images: Annotated[int, Field(ge=1, le=100_000)]
    max_relative_error: Annotated[float, Field(gt=0, le=1)]


class Params(Model):
    """All of params.yaml."""

    seed: Seed
    data: DataParams
    views: ViewParams
    encoder: EncoderParams
    objective: ObjectiveParams
    reg: RegParams
    train: TrainParams
    probe: ProbeParams
    transfer: TransferParams
    export: ExportParams

    @model_validator(mode="after")
    def _parts_fit(self) -> Params:
        size = self.data.image_size
        smallest = 8 * STEM_STRIDE[self.encoder.stem]
        if size < smallest:
            raise ValueError(
                f"data.image_size {size} is too small for encoder.stem {self.encoder.stem}, "
                f"which needs at least {smallest} px; choose another stem or a larger size"
            )
        if self.reg.name == "rc" and decoder_start(size) is None:
            raise ValueError(
                f"data.image_size {size} cannot be reconstructed by reg.name rc, whose decoder doubles "
                "4 or 7 px; use 8, 16, 32, 64, 128, 256, 14, 28, 56, 112 or 224, or another regulariser"
            )
        if self.data.name == "scenes" and self.train.batch_size > self.data.scenes.train_images:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} is larger than the data set "
                f"(data.scenes.train_images {self.data.scenes.train_images}); make it smaller"
            )
        return self


def decoder_start(image_size: int) -> int | None:
    """Side in px, 4 or 7, from which doubling reaches `image_size`; None when neither does."""
    for start in (4, 7):
        quotient, rest = divmod(image_size, start)
        if rest == 0 and quotient >= 2 and quotient & (quotient - 1) == 0:
            return start
    return None
