"""What tasks are scored by: accuracy of classes, mean average precision of several labels, R² of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import AliasChoices

from infocl.config import TaskKind
from infocl.runtime.text import interval, percent


class ScoreKind(NamedTuple):
    """A score by its key in JSON, its name, and what answers without looking at the image."""

    key: str
    name: str
    chance_key: str
    chance: str


KINDS: dict[TaskKind, ScoreKind] = {
    "class": ScoreKind("accuracy", "accuracy", "majority", "the most frequent class"),
    "labels": ScoreKind("mean_average_precision", "mean average precision", "chance", "a ranking at random"),
    "number": ScoreKind("r2", "R²", "chance", "the mean"),
}
SCORE = AliasChoices(*(kind.key for kind in KINDS.values()))
SCORE_CI95 = AliasChoices(*(f"{kind.key}_ci95" for kind in KINDS.values()))
KNN_SCORE = AliasChoices(*(f"knn_{kind.key}" for kind in KINDS.values()))
CHANCE = AliasChoices(*dict.fromkeys(kind.chance_key for kind in KINDS.values()))


def kind_of(row: Mapping[str, Any]) -> TaskKind:
    """The kind of task that a row of figures is of."""
    kind: TaskKind = row.get("kind", "class")
    return kind


def score_of(row: Mapping[str, Any]) -> float:
    """The score of a row of figures, whatever its kind."""
    return float(row[KINDS[kind_of(row)].key])


def show_score(kind: TaskKind, value: float) -> str:
    """A score as people read it, such as "81.4 %" (right), "mAP 61.0 %", "R² 0.62"."""
    if kind == "number":
        return f"R² {value:.2f}".replace("-", "−")
    return percent(value) if kind == "class" else f"mAP {percent(value)}"


def show_interval(kind: TaskKind, bounds: tuple[float, float]) -> str:
    """Its 95 % interval, such as "79.3 to 83.3 %", "0.58 to 0.66"."""
    if kind == "number":
        return f"{bounds[0]:.2f} to {bounds[1]:.2f}".replace("-", "−")
    return interval(bounds)


class Shown:
    """What rows of figures share: how their score is called and written."""

    kind: TaskKind
    score: float
    score_ci95: Any
    knn_score: float
    chance: float

    @property
    def words(self) -> ScoreKind:
        """How its score is called."""
        return KINDS[self.kind]

    @property
    def shown(self) -> str:
        """Its score as people read it."""
        return show_score(self.kind, self.score)

    @property
    def shown_ci95(self) -> str:
        """Its interval as people read it."""
        return show_interval(self.kind, self.score_ci95)

    @property
    def shown_knn(self) -> str:
        """The score of nearest neighbours as people read it."""
        return show_score(self.kind, self.knn_score)

    @property
    def shown_chance(self) -> str:
        """The score of answers that do not look at the image as people read it."""
        return show_score(self.kind, self.chance)
