"""What the stage compare found out, in figures and words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic import Field

from infocl.config import TaskKind
from infocl.config.titles import regularizer_title
from infocl.results.reading import FewLabels, Metrics, parse_details, read_details, rows_of

# What is judged, in the order in which it is shown.
TITLES_OF_KINDS = {
    "majority": "most frequent class",
    "raw": "raw pixels",
    "histogram": "colour histogram",
    "untrained": "untrained",
    "imported": "imported",
    "plain": "plain",
    "regularised": "regularised",
}
SOURCE = "source"  # the key of the source task; no target has this name
Verdict = Literal["learned", "forgotten", "brought back"]
MEANINGS: dict[Verdict, str] = {
    "learned": "the trained encoder's interval is above the best figure without training",
    "forgotten": "the plain encoder's interval is below raw pixels and below untrained encoders",
    "brought back": "the plain encoder forgot it, and the interval of regularised − plain is above 0",
}
ONE_SEED = "These words speak of one training seed, and intervals of the test images: other seeds may differ."


class Figure(NamedTuple):
    """A score of a task with its 95 % interval; `kind` is a key of `TITLES_OF_KINDS`."""

    kind: str
    score: float
    ci95: tuple[float, float]


class ComparedTask(Metrics):
    """One task: scores of its kind, with 95 % intervals by the same names; None was not judged.

    `untrained` is the mean of `untrained_seeds`; `difference` is regularised - plain on the same images.
    """

    name: str
    kind: TaskKind = "class"
    test_images: int
    majority: float
    raw: float
    histogram: float
    untrained: float | None
    untrained_seeds: list[float]
    imported: float | None = None
    plain: float | None
    regularised: float | None
    difference: float | None
    ci95: dict[str, tuple[float, float]]
    verdict: Verdict | None
    plain_label_efficiency: list[FewLabels] = Field(default_factory=list)

    @property
    def figures(self) -> Iterator[Figure]:
        """What was judged, in the order of `TITLES_OF_KINDS`."""
        for kind in TITLES_OF_KINDS:
            score = getattr(self, kind)
            if score is not None:
                yield Figure(kind, score, self.ci95[kind])


class CompareResult(Metrics):
    """All tasks by key, that of the source being `source`."""

    regularizer: str
    imported: str = ""  # which encoder `imported` is
    tasks: dict[str, ComparedTask] = Field(min_length=1)

    @property
    def kinds(self) -> list[str]:
        """What was judged, in order; the same for all tasks."""
        return [figure.kind for figure in next(iter(self.tasks.values())).figures]

    @property
    def task_kinds(self) -> set[TaskKind]:
        """The kinds of the tasks."""
        return {task.kind for task in self.tasks.values()}

    def notes(self) -> list[str]:
        """What is not there to compare with, and why."""
        kinds, found = self.kinds, []
        if self.regularizer == "none":
            found.append("reg.name is none: there is one trained encoder, the plain one.")
        elif "plain" not in kinds:
            found.append("No plain encoder was trained (compare.plain is false), so none can have forgotten.")
        if "untrained" not in kinds:
            found.append("No untrained encoder was judged (compare.untrained is 0), so no task gets a word.")
        return found

    def with_verdict(self, verdict: Verdict) -> list[str]:
        """Names of the tasks that have this verdict."""
        return [task.name for task in self.tasks.values() if task.verdict == verdict]

    def sentences(self) -> list[str]:
        """One sentence for each verdict that a task has, and what they mean."""
        message = [
            f"{_words(verdict, self.regularizer)}: {', '.join(names)} ({meaning})."
            for verdict, meaning in MEANINGS.items()
            if (names := self.with_verdict(verdict))
        ]
        return [*message, ONE_SEED] if message else []


def _words(verdict: Verdict, regularizer: str) -> str:
    by = {"forgotten": " by plain training", "brought back": f" by {regularizer_title(regularizer)}"}
    return f"{verdict.capitalize()}{by.get(verdict, '')}"


def read_compare() -> CompareResult:
    """The result of the stage compare.

    Raises:
        UserError: metrics/details/compare.json is missing, corrupt or incomplete.
    """
    raw = read_details("compare")
    return parse_details(CompareResult, raw | {"tasks": rows_of(raw)}, "compare")
