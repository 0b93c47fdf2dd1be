"""A run leaves a mark while it works; a mark without its run tells the watch that the run was killed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infocl.errors import UserError
from infocl.files import read_json, write_json
from infocl.workspace_lock import started
from pipelines.service import SERVICE

MARK = SERVICE / "unfinished.json"
MOST = 3  # times that the work of killed runs is taken up again; what kills each run must be seen by a person


@contextmanager
def marked(run: str) -> Iterator[str | None]:
    """Leave the mark while the block runs. However it ends, but by a kill, the mark goes.

    The workspace is held, so that a mark found here is of a run that is gone; the block is given that run.
    """
    before = _read()
    tries = int(before.get("tries", 0)) + 1 if before else 1
    process = {"host": socket.gethostname(), "pid": os.getpid(), "started": started(os.getpid())}
    about = {"run": run, "tries": tries, **process}
    write_json(MARK, about)
    try:
        yield str(before["run"]) if "run" in before else None
    finally:
        MARK.unlink(missing_ok=True)


def killed_run() -> str | None:
    """The run that was killed on this machine and whose work is to be taken up again."""
    mark = _read()
    if not mark or mark.get("host") != socket.gethostname() or int(mark.get("tries", 0)) > MOST:
        return None
    try:
        lives = started(int(mark["pid"])) == mark["started"]
    except (KeyError, ValueError):
        lives = False
    return None if lives else str(mark.get("run"))


def _read() -> dict[str, Any]:
    try:
        return dict(read_json(MARK, ""))
    except UserError:
        return {}
