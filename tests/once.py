"""What takes long to make, made once for all workers."""

from __future__ import annotations

import fcntl
import os


def once(tmp_path_factory, name, make):
    """A folder that `make(folder)` fills once for all workers; what that returned is in its `made`."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = (tmp_path_factory.getbasetemp().parent if run else tmp_path_factory.getbasetemp()) / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            (folder / "made").write_text(make(folder))
    return folder
