"""Progress for people: one live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class StepProgress:
    """Shows steps done, the latest figures, and the time left.

    Args:
        title: what is running.
        total: steps in all.
        done: steps already behind, when a run is resumed.
        line_every: steps between two plain lines when standard error is not a terminal.
    """

    def __init__(self, title: str, total: int, *, done: int, line_every: int) -> None:
        self.title, self.total, self.line_every = title, total, line_every
        self.done = done
        console = Console(stderr=True)
        self.live = console.is_terminal
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not self.live,
        )
        self.task = self.bar.add_task(title, total=total, completed=done, figures="")

    def __enter__(self) -> StepProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def advance(self) -> None:
        """One more step is done."""
        self.done += 1
        self.bar.update(self.task, completed=self.done)

    def log(self, text: str) -> None:
        """Print a line on standard error without disturbing the bar."""
        self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def figures(self, text: str) -> None:
        """Show the latest figures."""
        self.bar.update(self.task, figures=text)
        if not self.live and (self.done % self.line_every == 0 or self.done == self.total):
            print(f"{self.title} {self.done}/{self.total} {text}", file=sys.stderr, flush=True)
