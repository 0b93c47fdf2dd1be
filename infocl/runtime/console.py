"""Standard output for people and for pipes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from rich.console import Console


def open_streams() -> None:
    """Let printing never fail for what is printed, nor for a standard stream that is closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        getattr(sys, name).reconfigure(errors="backslashreplace")


class Output(Console):
    """Standard output, of a given width in columns where it is no terminal."""

    def __init__(self, piped_width: int) -> None:
        super().__init__(width=None if sys.stdout.isatty() else piped_width, highlight=False, markup=False)

    def on_broken_pipe(self) -> None:
        """Leave a closed pipe to `ending_with_its_pipe`, as `print` does."""
        raise BrokenPipeError


def ending_with_its_pipe(work: Callable[[], object]) -> None:
    """Run `work`; when its reader has gone, as of `infocl recipe | head -1`, die of SIGPIPE like other tools.

    The signal keeps Python's treatment until then, since a server must outlive a client that hangs up.
    """
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
