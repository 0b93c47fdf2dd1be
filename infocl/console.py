"""Standard output for people and for pipes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from rich.console import Console


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
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
