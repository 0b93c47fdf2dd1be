"""One reproduction of a workspace at a time, whoever starts it: a person, a schedule, a second machine."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from infocl.runtime.errors import UserError
from infocl.runtime.files import parse_json

LOCK = Path(".dvc/tmp/infocl.lock")
HOLDER = "INFOCL_WORKSPACE_HOLDER"  # set for the children of the process that holds the workspace
POLL_SECONDS = 1.0


class BusyError(UserError):
    """Somebody else is at work in this workspace; the message names who."""


@contextmanager
def workspace(
    what: str, wait_seconds: float = 0.0, on_wait: Callable[[str], object] | None = None
) -> Iterator[int | None]:
    """Hold this workspace while the block runs.

    The lock is the system's own (flock), so that it is gone with the last process that holds it, however
    that ended, and no clock is asked; shared folders pass it on to other machines. The file says who holds
    it. A child of the holder passes: its environment says whose child it is.

    Args:
        what: who holds it, for the message to others, such as "flow run brave-owl".
        wait_seconds: how long to wait for a workspace that is held; 0 refuses at once.
        on_wait: told once whom this process waits for.

    Yields:
        The lock's file descriptor, for children that must keep it when this process dies; None where there
        is nothing to lock (no DVC repository here, or an ancestor holds the lock).

    Raises:
        BusyError: it is held by another.
    """
    if not LOCK.parent.parent.is_dir() or _held_by_ancestor():
        yield None
        return
    LOCK.parent.mkdir(exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o664)
    try:
        _acquire(descriptor, wait_seconds, on_wait)
        token = uuid.uuid4().hex
        _write(descriptor, {"token": token, "what": what, **_self(), "dvc": _dvc_above()})
        before = os.environ.get(HOLDER)
        os.environ[HOLDER] = token
        try:
            yield descriptor
        finally:
            if before is None:
                del os.environ[HOLDER]
            else:
                os.environ[HOLDER] = before
    finally:
        os.close(descriptor)


def holder() -> str | None:
    """Who holds this workspace now, in words; None when nobody does."""
    if not LOCK.exists():
        return None
    descriptor = os.open(LOCK, os.O_RDWR)
    try:
        return _blocker(descriptor)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, wait_seconds: float, on_wait: Callable[[str], object] | None) -> None:
    deadline = time.monotonic() + wait_seconds
    reported = False
    while (holder := _blocker(descriptor)) is not None:
        if time.monotonic() >= deadline:
            raise BusyError(f"this workspace is in use by {holder}; wait until it ends, or cancel it")
        if on_wait and not reported:
            on_wait(holder)
            reported = True
        time.sleep(POLL_SECONDS)


def _blocker(descriptor: int) -> str | None:
    """Who keeps this process from the lock; None when it was taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _described(_read(descriptor))
    last = _read(descriptor)
    if _still_between_stages(last):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return _described(last)
    return None


def _still_between_stages(last: Mapping[str, Any]) -> bool:
    """Whether the last holder was a stage whose `dvc` still runs, and will start the next stage."""
    dvc = last.get("dvc")
    return bool(
        dvc
        and last.get("host") == socket.gethostname()
        and started(dvc["pid"]) == dvc["started"]
        and dvc != _dvc_above()
    )


def _held_by_ancestor() -> bool:
    """Whether the token in this process's environment is that of the holder, and the lock is still held."""
    token = os.environ.get(HOLDER)
    if not token:
        return False
    try:
        descriptor = os.open(LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False  # nobody holds it: the run that this process comes from has ended
    except BlockingIOError:
        return bool(_read(descriptor).get("token") == token)
    finally:
        os.close(descriptor)


def _self() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "user": user,
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _dvc_above() -> dict[str, Any] | None:
    """The nearest ancestor that is `dvc`, and when it started, so that its number alone does not decide."""
    for process in psutil.Process().parents():
        if is_dvc(process):
            return {"pid": process.pid, "started": started(process.pid)}
    return None


def is_dvc(process: psutil.Process) -> bool:
    """Whether a process is `dvc`; one that has ended is not."""
    try:
        return any(Path(word).name == "dvc" for word in process.cmdline()[:2])
    except psutil.Error:
        return False


def started(pid: int) -> float | None:
    """When a process started, in seconds, which with its number names it; None when there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _read(descriptor: int) -> dict[str, Any]:
    try:
        value = parse_json(os.pread(descriptor, 1 << 16, 0))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _write(descriptor: int, value: Mapping[str, Any]) -> None:
    content = json.dumps(value).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


def _described(holder: Mapping[str, Any]) -> str:
    if not holder:
        return "another process"
    return (
        f"{holder.get('what', 'another process')} (process {holder.get('pid')} of {holder.get('user')} on "
        f"{holder.get('host')}, since {holder.get('since')})"
    )
