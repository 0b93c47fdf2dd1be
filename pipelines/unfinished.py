"""A run leaves a mark that says whether it came to its end; one that did not was killed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, write_json
from infocl.runtime.lock import started
from pipelines.service import SERVICE

MARK = SERVICE / "unfinished.json"
MOST = 3  # times that the work of killed runs is taken up again; what kills each run must be seen by a person


@contextmanager
def marked(run: str) -> Iterator[str | None]:
    """Mark this run as at work while the block runs and as ended after it, unless it is killed.

    The block is given the run before this one, if its process is gone: the workspace is held, so that a run
    that did not come to its end cannot be at work any more.
    """
    before = _read()
    tries = 1 if before.get("ended", True) else int(before.get("tries", 0)) + 1
    process = {"host": socket.gethostname(), "pid": os.getpid(), "started": started(os.getpid())}
    about = {"run": run, "tries": tries, "ended": False, **process}
    write_json(MARK, about)
    gone = "run" in before and not (before.get("ended") and _may_live(before))
    try:
        yield str(before["run"]) if gone else None
    finally:
        try:
            write_json(MARK, about | {"ended": True})
        except OSError:  # a full disk has room for no news but that there is no mark
            MARK.unlink(missing_ok=True)


def killed_run() -> str | None:
    """The run that was killed on this machine and whose work is to be taken up again."""
    mark = _read()
    if mark.get("ended", True) or mark.get("host") != socket.gethostname() or _may_live(mark):
        return None
    return str(mark.get("run")) if int(mark.get("tries", 0)) <= MOST else None


def _may_live(mark: Mapping[str, Any]) -> bool:
    """Whether the process of a mark is still there, to report how it ended; on another machine it may be."""
    try:
        return bool(mark["host"] != socket.gethostname() or started(int(mark["pid"])) == mark["started"])
    except (KeyError, ValueError, TypeError):
        return False


def _read() -> dict[str, Any]:
    try:
        return dict(read_json(MARK, ""))
    except UserError:
        return {}
