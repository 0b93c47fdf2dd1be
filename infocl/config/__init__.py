"""The typed schema of params.yaml: what may be set, and in which range."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from infocl.config.audit import AuditParams
from infocl.config.compare import CompareParams, ImportedParams
from infocl.config.detection import DetectionParams
from infocl.config.export import ExportParams
from infocl.config.gate import GateParams
from infocl.config.names import DataName, TargetName
from infocl.config.train import OptimizerParams, ScheduleParams, TrainParams
from infocl.config.transfer import OwnTaskParams, TaskKind, TransferParams, chosen_targets
from infocl.data.sizes import OWN_SIZE
from infocl.encoder.sizes import STEM_STRIDE
from infocl.pretrain.objectives.params import OBJECTIVES
from infocl.pretrain.regularizers.params import REGULARIZERS
from infocl.runtime.schema import Auto, Model, PlugInSection, Probability, Seed, Share, Strength, section_of

__all__ = [
    "AuditParams",
    "CompareParams",
    "DataName",
    "DetectionParams",
    "ExportParams",
    "GateParams",
    "ImportedParams",
    "OptimizerParams",
    "OwnTaskParams",
    "ScheduleParams",
    "TargetName",
    "TaskKind",
    "TrainParams",
    "TransferParams",
]

Crop = Literal["center", "squash"]
Stem = Literal["cifar", "stl", "imagenet"]


class EmbeddedParams(Model):
    """Size and seed of an embedded data set."""

    train_images: Annotated[int, Field(ge=60, le=1_000_000)]
    test_images: Annotated[int, Field(ge=20, le=1_000_000)]
    seed: Seed


class ShapesParams(EmbeddedParams):
    """What the shapes look like, besides."""

    hue_range: Annotated[float, Field(gt=0, le=0.4)]  # beyond, blue cannot be as bright
    brightness_step: Annotated[float, Field(gt=0, le=0.1)]  # beyond, nor can turquoise
    ground: Annotated[float, Field(ge=0.02, le=1)]


class DtdParams(Model):
    """Which of the ten official splits of DTD is used."""

    split: Annotated[int, Field(ge=1, le=10)]


Bits = Annotated[int, Field(ge=8, le=16)] | Auto  # that files of 16 bits use


class FolderParams(Model):
    """How a folder of images is read, and how it is split when it does not come split."""

    csv: str
    label: str
    test_share: Share
    split_seed: Seed
    on_bad: Literal["refuse", "skip"]
    min_side: Annotated[int, Field(ge=0, le=100_000)]
    min_contrast: Annotated[float, Field(ge=0, le=255)]
    bits: Bits
    licence: Annotated[str, Field(min_length=1)]


class DataParams(Model):
    """Which images are learned from."""

    name: DataName
    root: Annotated[str, Field(min_length=1)]
    image_size: Annotated[int, Field(ge=8, le=1024)]
    crop: Crop
    background: Literal["white", "black", "grey"]
    shapes: ShapesParams
    scenes: EmbeddedParams
    dtd: DtdParams
    folder: FolderParams

    @model_validator(mode="before")
    @classmethod
    def _own_size(cls, raw: Any) -> Any:
        """Whoever reads the params finds a number in place of `auto`."""
        if not isinstance(raw, dict) or raw.get("image_size") != "auto":
            return raw
        # Where the name is wrong, any size will do: only the name is told.
        return raw | {"image_size": OWN_SIZE.get(str(raw.get("name")), 32)}


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
    init: Literal["he", "torch"]
    normalization: Literal["dataset", "half", "imagenet"]


class LabelEfficiencyParams(Model):
    """How few labels the probe is also tried with; no draws leave it out."""

    per_class: Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(max_length=20)]
    shares: Annotated[list[Share], Field(max_length=20)]
    draws: Annotated[int, Field(ge=0, le=1000)]


class ProbeParams(Model):
    """The evaluation protocol."""

    l2: Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1, max_length=50)]
    validation_share: Annotated[float, Field(gt=0, le=0.5)]
    max_iterations: Annotated[int, Field(ge=1, le=100_000)]
    knn_k: Annotated[int, Field(ge=1, le=10_000)]
    knn_temperature: Annotated[float, Field(gt=0, le=100)]
    label_efficiency: LabelEfficiencyParams


class ObjectiveSection(PlugInSection):
    """What is contrasted, and how."""


class RegSection(PlugInSection):
    """What raises I(z; v), and its weight."""

    weight: Annotated[float, Field(ge=0, le=1e6)]


if TYPE_CHECKING:  # a type checker cannot see fields that are made of the registries
    ObjectiveParams = ObjectiveSection
    RegParams = RegSection
else:
    ObjectiveParams = section_of(ObjectiveSection, OBJECTIVES)
    RegParams = section_of(RegSection, REGULARIZERS)


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
    compare: CompareParams
    audit: AuditParams
    export: ExportParams
    gate: GateParams
    detection: DetectionParams

    @model_validator(mode="before")
    @classmethod
    def _own_targets(cls, raw: Any) -> Any:
        """Whoever reads the params finds the names of targets in place of `auto`."""
        transfer = raw.get("transfer") if isinstance(raw, dict) else None
        if not isinstance(transfer, dict) or transfer.get("targets") != "auto":
            return raw  # whatever is wrong is told by the fields
        return raw | {
            "transfer": transfer | {"targets": chosen_targets(raw.get("data"), transfer.get("own"))}
        }

    @model_validator(mode="after")
    def _crops_have_a_pixel(self) -> Params:
        views, size = self.views, self.data.image_size
        side = size * math.sqrt(views.crop_scale[0] * min(views.crop_ratio[0], 1 / views.crop_ratio[1]))
        if side < 1:
            raise ValueError(
                f"views.crop_scale from {views.crop_scale[0]:g} makes crops of {side:.2g} px at "
                f"data.image_size {size} and views.crop_ratio {views.crop_ratio}; make the smallest share "
                "larger"
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Params:
        size = self.data.image_size
        smallest = 8 * STEM_STRIDE[self.encoder.stem]
        if size < smallest:
            raise ValueError(
                f"data.image_size {size} is too small for encoder.stem {self.encoder.stem}, "
                f"which needs at least {smallest} px; choose another stem or a larger size"
            )
        self.objective.own.require_fit(size)
        self.reg.own.require_fit(size)
        if getattr(self.objective.own, "views", 2) < self.reg.own.least_views:  # most objectives need two
            raise ValueError(
                f"objective.{self.objective.name}.views is 1, but reg.name {self.reg.name} compares two; "
                "use 2, or another regulariser"
            )
        unknown = sorted(set(self.gate.floors) - {"mean", *self.transfer.tasks})
        if unknown:
            raise ValueError(
                f"gate.floors names {unknown[0]}, which is no target; use mean or one of transfer.targets"
            )
        name = self.data.name
        embedded = getattr(self.data, name, None)
        if isinstance(embedded, EmbeddedParams) and self.train.batch_size > embedded.train_images:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} is larger than the data set "
                f"(data.{name}.train_images {embedded.train_images}); make it smaller"
            )
        return self
