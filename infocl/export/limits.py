"""What the figures of a run do not show."""

from __future__ import annotations

from collections.abc import Iterable

from infocl.results.reading import TaskResult


def limits(tasks: Iterable[TaskResult]) -> list[str]:
    """What the figures do not show, one sentence each."""
    of_data = dict.fromkeys(task.task.limits for task in tasks if task.task.limits)
    return [
        *of_data,
        "The figures come from one run with one seed; the intervals tell only of the draw of test images.",
        "The encoder was tried on the tasks named here and on no others; measure it on yours before use.",
    ]
