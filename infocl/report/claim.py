"""The first picture: per task, both encoders beside what needs no training."""

from __future__ import annotations

from dataclasses import dataclass

from infocl.results.comparison import TITLES_OF_KINDS, ComparedTask, CompareResult, Figure
from infocl.results.scores import show_interval, show_score

LANE = 13  # px of height for each figure of a task


@dataclass(frozen=True)
class Claim:
    """One task of the picture: `lanes` are its figures from top to bottom, with their heights in px."""

    task: ComparedTask
    lanes: list[tuple[int, Figure]]
    difference: str
    words: str

    @property
    def height(self) -> int:
        """Of the picture in px."""
        return LANE * (len(self.lanes) + 1)


def claims(compared: CompareResult) -> list[Claim]:
    """All tasks, in the order of the stage compare."""
    return [_claim(task) for task in compared.tasks.values()]


def _claim(task: ComparedTask) -> Claim:
    figures = list(task.figures)
    of = task.kind
    words = [
        f"{TITLES_OF_KINDS[kind]} {show_score(of, score)} (95 % interval {show_interval(of, ci95)})"
        for kind, score, ci95 in figures
    ]
    difference = _difference(task)
    ends = [part for part in (difference, task.verdict) if part]
    drawn = [figure for figure in figures if figure.kind != "majority"]
    return Claim(
        task,
        [(LANE * (number + 1), figure) for number, figure in enumerate(drawn)],
        difference,
        f"{task.name}: {'; '.join([*words, *ends])}; {task.test_images:,} test images",
    )


def _difference(task: ComparedTask) -> str:
    """Such as "regularised − plain: +5.2 points (3.1 to 7.3)"; empty where there is one encoder."""
    if task.difference is None:
        return ""
    low, high = task.ci95["difference"]
    words = (
        f"{task.difference:+.2f} ({low:.2f} to {high:.2f})"
        if task.kind == "number"
        else f"{100 * task.difference:+.1f} points ({100 * low:.1f} to {100 * high:.1f})"
    )
    return f"regularised − plain: {words}".replace("-", "−")
