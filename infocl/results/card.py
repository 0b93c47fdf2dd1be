"""`encoder.json`, the description of an export: the stage export checks what it writes by the same models
by which users of an export, the gate and the summary read it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from infocl.config import TaskKind
from infocl.results.scores import CHANCE, KNN_SCORE, SCORE, SCORE_CI95, Shown
from infocl.runtime.errors import UserError

FORMAT = 2
CARD_FILE, ONNX_FILE, SUMS_FILE = "encoder.json", "encoder.onnx", "SHA256SUMS"
CORRECT_ARCHIVE = "correct.npz"
SIGNATURE_SUFFIX = ".sig"
SIGNATURE_NAMESPACE = "infocl-encoder"  # keeps a signature from being passed off as one of something else
HINT = "ask for a complete export, or make it again (dvc repro export)"


def plain_name(name: str) -> str:
    """A file's name that cannot lead out of its folder.

    Raises:
        ValueError: it has a folder in it.
    """
    if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
        raise ValueError(f"{name!r} is not the name of a file inside the folder")
    return name


FileName = Annotated[str, AfterValidator(plain_name)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Part of the card; keys that no program acts on are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class Tensor(Part):
    """An input or output; letters in its shape stand for any size."""

    name: str
    dtype: Literal["uint8", "float32"]
    shape: list[int | str]


class ModelFile(Part):
    """An ONNX file.

    `relative_error` is the largest relative L2 error of an embedding against torch, `other_sizes_error` that
    of images of other sizes than the trained one.
    """

    file: FileName
    sha256: Sha256
    input: Tensor
    relative_error: Share
    other_sizes_error: Share = 0.0


class Unshipped(Part):
    """A variant that missed the export's limits."""

    shipped: Literal[False]
    reason: str


class Shipped(ModelFile):
    """A variant that is in the folder."""

    shipped: Literal[True]


class Example(Part):
    """Images and embeddings to try a runtime with, and how near it must come."""

    file: FileName
    max_relative_error: float = Field(gt=0, le=0.001)


class Reference(Part):
    """The sample that new images are compared with: of which split, and how its images were prepared."""

    file: FileName
    images: int = Field(gt=0)
    split: Literal["train", "test"]
    image_size: int = Field(ge=2, le=4096)
    crop: Literal["center", "squash"]


class Correct(Part):
    """Which test images the probe is right for, by task: bits as by `numpy.packbits`."""

    file: FileName


class Signature(Part):
    """Of the checksums."""

    file: FileName


class Parity(Part):
    """How near the float32 file is to torch, and how near it must be."""

    max_relative_error: float
    tolerance: float


class TaskScore(Part, Shown):
    """A task by the linear probe, with its 95 % interval, and by nearest neighbours.

    Scores are accuracies, mean average precisions or R² by `kind`; `chance` is that of answers that do not
    look at the image.
    """

    kind: TaskKind = "class"
    score: float = Field(validation_alias=SCORE, le=1)
    score_ci95: list[float] = Field(validation_alias=SCORE_CI95, min_length=2, max_length=2)
    knn_score: float = Field(validation_alias=KNN_SCORE, le=1)
    chance: float = Field(validation_alias=CHANCE, le=1)
    test_images: int = Field(gt=0)
    test_images_sha256: str | None = None
    test_labels_sha256: str | None = None

    @model_validator(mode="after")
    def _inside(self) -> TaskScore:
        low, high = self.score_ci95
        # Of limits that are the accuracy itself; percentiles of a bootstrap need not include the score.
        slack = 1e-9 if self.kind == "class" else math.inf
        if not low - slack <= self.score <= high + slack or low > high:
            raise ValueError(f"{self.score} does not lie in its interval {low} to {high}")
        if self.kind == "class" and min(self.score, low, self.knn_score, self.chance) < 0:
            raise ValueError("an accuracy is below 0")
        return self

    @property
    def estimate(self) -> tuple[float, float, float]:
        """The score, and the low and high end of its interval."""
        return self.score, self.score_ci95[0], self.score_ci95[1]

    @property
    def right(self) -> int:
        """How many test images the linear probe is right for."""
        return round(self.score * self.test_images)

    def same_test(self, other: TaskScore) -> bool:
        """Whether both were judged on the same images with the same labels, as far as that is known."""
        mine, others = (
            (row.test_images, row.test_images_sha256, row.test_labels_sha256) for row in (self, other)
        )
        return None not in mine and mine == others


class CardMetrics(Part):
    """What the encoder was judged by; `source` is None for data without labels."""

    source: TaskScore | None
    transfer: dict[str, TaskScore] = Field(min_length=1)

    @property
    def with_accuracy(self) -> dict[str, TaskScore]:
        """The targets of classes, of which a mean can be formed."""
        return {name: row for name, row in self.transfer.items() if row.kind == "class"}


class Measured(Part):
    """What an encoder is judged by, alike in every format of the card."""

    parity: Parity
    metrics: CardMetrics
    correct: Correct | None = None


class Card(Measured):
    """The parts of `encoder.json` that a program acts on."""

    format: Literal[2]
    data: str
    objective: str
    regularizer: str
    reg_weight: float
    weights_sha256: str
    input: Tensor
    dim: int = Field(gt=0)
    normalized: bool
    output: Tensor
    variants: dict[str, Shipped | Unshipped]
    float_input: ModelFile
    example: Example
    drift: Reference | None = None
    signature: Signature | None


Kind = TypeVar("Kind", bound=Part)


def parse_card(raw: dict[str, Any], path: Path) -> Card:
    """The card of a description that was read from `path`.

    Raises:
        UserError: it has another format, or a key is missing or of a wrong type.
    """
    if raw.get("format") != FORMAT:
        raise UserError(
            f"{path} has format {raw.get('format')}, this version of infocl reads {FORMAT}; "
            "use the version that made it, or export again"
        )
    return _parse(Card, raw, path)


def parse_measured(raw: dict[str, Any], path: Path) -> Measured:
    """What the encoder was judged by, also of an export in another format.

    Raises:
        UserError: a key is missing or of a wrong type.
    """
    return _parse(Measured, raw, path)


def _parse(kind: type[Kind], raw: dict[str, Any], path: Path) -> Kind:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {key} is not usable ({first['msg']}); {HINT}") from None
