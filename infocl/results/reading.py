"""What the stages probe, transfer and export found out, read back from metrics/details/ and checked."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infocl.config import TaskKind
from infocl.results.scores import CHANCE, KNN_SCORE, SCORE, SCORE_CI95, Shown
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json
from infocl.runtime.paths import DETAILS, rerun


class Metrics(BaseModel):
    """Numbers of a file of details; other keys of the file are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


TEST_SET = ("test_images_sha256", "test_labels_sha256")


class TaskAbout(Metrics):
    """What the labels ask, as the data set's `meta.json` has it.

    Attributes:
        asks: in a few words.
        changed_by_views: whether augmentation changes the answer from view to view.
        limits: what a result on these data does not show, a sentence.
    """

    asks: str = "the data set's own classes"
    changed_by_views: bool = False
    limits: str | None = None


class FewLabels(Metrics):
    """A probe of a few labels: mean accuracy over draws of `images`, and its interval over the draws."""

    labels: str
    images: int
    accuracy: float
    ci95: tuple[float, float] | None


class Confusion(Metrics):
    """How often each class was taken for which: places in `classes`, and counts, where it happened."""

    classes: list[str]
    truth: list[int]
    predicted: list[int]
    count: list[int]


class TaskResult(Metrics, Shown):
    """The protocol on one labelled data set.

    `score` is an accuracy, a mean average precision or an R² by `kind`; `chance` is the score of answers that
    do not look at the image; `rmse` is that of numbers, in their unit.
    """

    kind: TaskKind = "class"
    score: float = Field(validation_alias=SCORE)
    score_ci95: tuple[float, float] = Field(validation_alias=SCORE_CI95)
    knn_score: float = Field(validation_alias=KNN_SCORE)
    chance: float = Field(validation_alias=CHANCE)
    chance_ci95: tuple[float, float] | None = None
    rmse: float | None = None
    rmse_ci95: tuple[float, float] | None = None
    chance_rmse: float | None = None
    confusion: Confusion | None = None
    label_efficiency: list[FewLabels] = Field(default_factory=list)
    label_names: list[str] = Field(default_factory=list)
    label_precisions: list[float] = Field(default_factory=list)
    classes: int
    train_images: int
    test_images: int
    test_images_sha256: str | None = None
    test_labels_sha256: str | None = None
    task: TaskAbout = TaskAbout()

    def as_row(self) -> dict[str, Any]:
        """The figures by the keys that rows of their kind have."""
        words, dumped = self.words, self.model_dump(mode="json")
        row = {
            words.key: dumped["score"],
            f"{words.key}_ci95": dumped["score_ci95"],
            f"knn_{words.key}": dumped["knn_score"],
            words.chance_key: dumped["chance"],
            **{key: dumped[key] for key in ("classes", "train_images", "test_images", "task")},
        }
        row |= {key: dumped[key] for key in TEST_SET if dumped[key] is not None}
        more = ("kind", "chance_ci95", "rmse", "rmse_ci95", "chance_rmse")
        return (
            row
            if self.kind == "class"
            else row | {key: dumped[key] for key in more if dumped[key] is not None}
        )


class ProbeResult(Metrics):
    """Diagnostics of the features, and the source task where the data set has labels."""

    rankme: float
    dim: int
    dead_units: float
    feature_norm: float
    alignment: float
    uniformity: float
    info_nce_nats: float
    info_nce_ceiling_nats: float
    view_images: int
    source: TaskResult | None = None


class TransferResult(Metrics):
    """One row for each task, and the mean of those that have an accuracy, None without any."""

    mean_accuracy: float | None = None
    mean_accuracy_ci95: tuple[float, float] | None = None
    mean_knn_accuracy: float | None = None
    targets: dict[str, TaskResult] = Field(min_length=1)

    @property
    def with_accuracy(self) -> int:
        """How many tasks the mean is of."""
        return sum(task.kind == "class" for task in self.targets.values())


class ExportResult(Metrics):
    """How the ONNX file compares with torch."""

    bytes: int
    max_abs_error: float
    max_relative_error: float
    cosine_min: float
    parity_images: int
    onnxruntime_images_per_second: float
    torch_images_per_second: float
    threads: int


class StageCost(Metrics):
    """What a stage took; the last three only where it trains."""

    seconds: float
    peak_memory_mib: float
    images_per_second: float | None = None
    device: str | None = None
    peak_device_memory_mib: float | None = None


Kind = TypeVar("Kind", bound=Metrics)


def read_probe() -> ProbeResult:
    """The result of the stage probe; `source` is None for data without labels.

    Raises:
        UserError: metrics/details/probe.json is missing, corrupt or incomplete.
    """
    raw = read_details("probe")
    return parse_details(ProbeResult, raw | {"source": raw if "accuracy" in raw else None}, "probe")


def read_transfer() -> TransferResult:
    """The result of the stage transfer.

    Raises:
        UserError: metrics/details/transfer.json is missing, corrupt or incomplete.
    """
    raw = read_details("transfer")
    targets = rows_of(raw)
    return parse_details(TransferResult, raw | {"targets": targets}, "transfer")


def read_export() -> ExportResult:
    """The result of the stage export.

    Raises:
        UserError: metrics/details/export.json is missing, corrupt or incomplete.
    """
    return parse_details(ExportResult, read_details("export"), "export")


def read_cost(stage: str) -> StageCost:
    """What a stage took.

    Raises:
        UserError: its file of details is missing, corrupt or incomplete.
    """
    return parse_details(StageCost, read_details(stage), stage)


def rows_of(raw: dict[str, Any]) -> dict[str, Any]:
    """The rows of tasks among the details of a stage."""
    return {name: row for name, row in raw.items() if isinstance(row, dict)}


def read_details(stage: str) -> dict[str, Any]:
    """The details of a stage as they are written."""
    path = DETAILS / f"{stage}.json"
    return read_json(path, rerun(stage, path))


def parse_details(kind: type[Kind], raw: dict[str, Any], stage: str) -> Kind:
    """The details of a stage, checked; the message names the key and the stage to run again."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        key = (
            ".".join(str(part) for part in problem["loc"])
            .removeprefix("source.")
            .removeprefix("targets.")
            .removeprefix("tasks.")
        )
        path = DETAILS / f"{stage}.json"
        raise UserError(f"{path} has no usable {key} ({problem['msg']}); {rerun(stage, path)}") from None
