"""The typed schema of params.yaml: what may be set, in which range, and how a mistake is named."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from infocl.errors import UserError

PARAMS_FILE = Path("params.yaml")

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
    root: str | None
    image_size: Annotated[int, Field(ge=8, le=1024)]
    scenes: ScenesParams
    folder: FolderParams

    @model_validator(mode="after")
    def _root_belongs_to_folder(self) -> DataParams:
        if self.name == "folder" and not self.root:
            raise ValueError("data.root must name the folder of images when data.name is folder")
        if self.name != "folder" and self.root is not None:
            raise ValueError(
                "data.root is read only when data.name is folder; set it to null "
                "(raw files are looked for in data/raw or $INFOCL_DATA)"
            )
        return self


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


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and validate params.yaml.

    Raises:
        UserError: the file is missing, not YAML, or a value is unknown, mistyped or out of range;
            the message is one line that names the key and the mend.
    """
    return parse_params(read_yaml(path), path.name)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, by the grammar that DVC reads it with."""
    try:
        text = path.read_text(encoding="utf-8")
        value = YAML(typ="safe", pure=True).load(text)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the project's root folder") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{path}{where}: not valid YAML ({problem}); mend that line") from None
    except (YAMLError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a mapping of sections such as `seed: 0`")
    return value


def parse_params(raw: Mapping[str, Any], source: str = PARAMS_FILE.name) -> Params:
    """Validate a mapping as params.yaml would be; `source` names the file in messages."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = error.errors()
        more = f" ({len(problems) - 1} more to mend after that)" if len(problems) > 1 else ""
        raise UserError(f"{source}: {_explain(problems[0], raw)}{more}") from None


WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list such as [a, b]",
    "model_type": "a section with its keys indented below it",
    "model_attributes_type": "a section with its keys indented below it",
    "finite_number": "a finite number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of at least {min_length} values",
    "too_long": "a list of at most {max_length} values",
    "string_pattern_mismatch": "auto, cpu, cuda or cuda:N",
}


def _explain(problem: ErrorDetails, raw: Mapping[str, Any]) -> str:
    key, given, kind = _key(problem, raw), problem.get("input"), problem["type"]
    context = problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{key} is not a known parameter; " + _nearest(key, _known_keys(Params), "remove it")
    if kind == "missing":
        return f"{key} is missing; add it"
    if kind == "literal_error":
        names = [name.strip(" '") for name in context["expected"].replace(" or ", ", ").split(",")]
        return f"{key} is {_show(given)}; " + _nearest(given, names, f"use one of {', '.join(names)}")
    if kind == "value_error":
        about_one_value = key and not isinstance(given, (Mapping, BaseModel))
        return f"{key} {context['error']}" if about_one_value else str(context["error"])
    wanted = WANTED[kind].format(**context) if kind in WANTED else problem["msg"]
    return f"{key or 'the file'} is {_show(given)}, but must be {wanted}"


def _key(problem: ErrorDetails, raw: Mapping[str, Any]) -> str:
    """The dotted key as the user wrote it: the location without pydantic's names of union members."""
    parts: list[str] = []
    node: Any = raw
    for part in problem["loc"]:
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            if problem["type"] != "missing":
                continue
        parts.append(str(part) if str(part).isprintable() else repr(part))
    return ".".join(parts)


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                keys += _known_keys(kind, f"{prefix}{name}.")
    return keys


def _nearest(given: Any, names: list[str], otherwise: str) -> str:
    close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else otherwise


def _show(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
