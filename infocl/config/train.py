"""The section `train`: the pretraining loop."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from infocl.runtime.schema import Auto, Model

LARGEST_ADAM = 1.0  # weights begin between 0.01 and 1


class OptimizerParams(Model):
    """The optimiser."""

    name: Literal["adam", "adamw", "sgd", "lars"]
    # SGD and LARS: 0.3 for each 256 images is common, 77 at a batch of 65536.
    lr: Annotated[float, Field(gt=0, le=100)]
    weight_decay: Annotated[float, Field(ge=0, le=10)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    trust_coefficient: Annotated[float, Field(gt=0, le=1)]
    lr_placement: Literal["inside", "outside"]

    @model_validator(mode="after")
    def _adam_keeps_weights(self) -> OptimizerParams:
        if self.name in ("adam", "adamw") and self.lr > LARGEST_ADAM:
            raise ValueError(
                f"train.optimizer.lr {self.lr:g} is too large for {self.name}, which moves every weight by "
                f"about lr in each step; use at most {LARGEST_ADAM:g}, usual is 0.001"
            )
        return self


# Knobs of `train` that change no result: where images are and steps run, and how often a run is saved.
NEUTRAL = ("device", "devices", "compile", "cuda_graph", "checkpoint_minutes", "storage", "shards")
# Knobs that only these optimisers read.
READ_BY = {"momentum": ("sgd", "lars"), "trust_coefficient": ("lars",), "lr_placement": ("lars",)}


def optimizer_in_force(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """The section `train.optimizer` without the knobs that the chosen optimiser does not read."""
    name = optimizer["name"]
    return {key: value for key, value in optimizer.items() if name in READ_BY.get(key, (name,))}


class ScheduleParams(Model):
    """The learning rate's course."""

    name: Literal["constant", "cosine"]
    warmup_epochs: Annotated[float, Field(ge=0, le=100_000)]


class TrainParams(Model):
    """The pretraining loop."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=2, le=10**6)]
    shuffle: Literal["global", "shards"]
    optimizer: OptimizerParams
    schedule: ScheduleParams
    batch_norm: Literal["joint", "per_view"]
    precision: Literal["bf16", "fp32"]
    compile: bool
    cuda_graph: bool | Auto
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:(0|[1-9]\d?))?)$")]
    devices: Annotated[int, Field(ge=1, le=1024)]
    checkpoint_minutes: Annotated[float, Field(gt=0, le=10_000)]
    storage: Literal["auto", "resident", "mapped", "sharded"]
    shards: str

    @model_validator(mode="after")
    def _shards_named(self) -> TrainParams:
        if self.storage == "sharded" and not self.shards:
            raise ValueError(
                "train.storage sharded needs train.shards, the folder or s3:// URL that `infocl shard` wrote"
            )
        if "://" in self.shards and not re.fullmatch(r"s3://[^/]+(/.*)?", self.shards):
            raise ValueError(f"train.shards {self.shards} is neither a folder nor s3://bucket/prefix")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> TrainParams:
        if self.batch_size % self.devices:
            raise ValueError(
                f"train.batch_size ({self.batch_size}) must be a multiple of train.devices ({self.devices}), "
                "which share each batch"
            )
        if self.devices > 1 and self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(
                f"train.device {self.device} names one device but train.devices is {self.devices}; use cuda"
            )
        return self

    @model_validator(mode="after")
    def _warmup_fits(self) -> TrainParams:
        if self.schedule.warmup_epochs > self.epochs:
            raise ValueError(
                f"train.schedule.warmup_epochs ({self.schedule.warmup_epochs:g}) must not exceed "
                f"train.epochs ({self.epochs})"
            )
        return self
