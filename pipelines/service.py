"""The encoder in service: a folder that consumers read, switched as one, and a journal of decisions.

`exports/service/current` is a link to the folder of the version that the git tags say is in service, so
that a reader finds the old encoder or the new one, whole, at any moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from filelock import FileLock, Timeout

from infocl.deploy.sums import check_sums
from infocl.runtime.errors import UserError
from infocl.runtime.files import parse_json
from infocl.runtime.lock import BusyError
from infocl.runtime.paths import EXPORT
from pipelines.commands import Log, stream
from pipelines.registry import Registry, Version, read_registry

SERVICE = Path("exports/service")
CURRENT = SERVICE / "current"
JOURNAL = SERVICE / "journal.jsonl"
LOCK = Path(".dvc/tmp/infocl-service.lock")
WAIT_SECONDS = 600.0  # for another who fetches a version, which may be large

_lock = FileLock(LOCK)


@contextmanager
def alone(wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold what is in service while the block runs: nobody else switches, places or removes a version.

    It is apart from the lock of the workspace, so that a rollback need not wait for a training. It may be
    taken again inside the block, and is gone with the process.

    Raises:
        BusyError: another held it for so long.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    try:
        _lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise BusyError(
            f"another process has been changing what is in service for {wait_seconds:.0f} s; try again later"
        ) from None
    try:
        yield
    finally:
        _lock.release()


def reconcile(log: Log, registry: Registry | None = None) -> Version | None:
    """Make `current` the version that the tags say is in service, whatever happened before.

    Returns:
        That version; None when none was put in service yet.
    """
    with alone():
        registry = registry or read_registry()
        clean_up(registry)
        version = registry.in_service
        if version is not None and (serving() != version.name or not _whole(SERVICE / version.name)):
            place(version, log)
            _switch(version)
            _forget_others(registry)
            log(f"{CURRENT} is {version.name} now.")
    return version


def _switch(version: Version) -> None:
    if CURRENT.is_dir() and not CURRENT.is_symlink():
        shutil.rmtree(CURRENT)  # a copy without links brought it here; only a link can be switched as one
    link = Path(mkdtemp(dir=SERVICE, prefix=".link.")) / "current"
    link.symlink_to(version.name)
    link.replace(CURRENT)
    link.parent.rmdir()


def place(version: Version, log: Log) -> Path:
    """The version's folder below `exports/service`, checked; fetched when it is not there or not whole.

    Raises:
        CommandError: neither this machine's cache nor the DVC remote has it, or it is not sound.
    """
    with placing(version, log):
        return SERVICE / version.name


@contextmanager
def placing(version: Version, log: Log) -> Iterator[None]:
    """Hold a version's files ready while the block makes it known; they are in place once it has succeeded.

    So no folder bears the name of a version that was not published, which others may give to another encoder.

    Raises:
        CommandError: neither this machine's cache nor the DVC remote has it, or it is not sound.
    """
    folder = SERVICE / version.name
    with alone():
        if _whole(folder):
            yield
            return
        SERVICE.mkdir(parents=True, exist_ok=True)
        with _fetched(version, log) as copy:
            yield
            shutil.rmtree(folder, ignore_errors=True)
            copy.replace(folder)


@contextmanager
def _fetched(version: Version, log: Log) -> Iterator[Path]:
    with TemporaryDirectory(dir=SERVICE, prefix=f".{version.name}.") as temporary:
        copy = Path(temporary, "encoder")
        stream(["dvc", "get", ".", EXPORT.as_posix(), "--rev", version.commit, "-o", str(copy)], log)
        verify(copy, log)
        yield copy


def verify(folder: Path, log: Log) -> None:
    """Check an exported folder as its consumers do.

    Raises:
        CommandError: it is not sound; the message names the file.
    """
    stream([sys.executable, "-m", "infocl", "verify", str(folder)], log)


def record(decision: str, candidate: str, rules: Mapping[str, Any], **more: Any) -> None:
    """Append a decision to the journal."""
    SERVICE.mkdir(parents=True, exist_ok=True)
    line = {
        "at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "decision": decision,
        "candidate": candidate,
        "rules": digest(rules),
        **more,
    }
    whole = not JOURNAL.exists() or JOURNAL.read_bytes().endswith(b"\n") or not JOURNAL.stat().st_size
    with JOURNAL.open("a", encoding="utf-8") as stream_:
        stream_.write(("" if whole else "\n") + json.dumps(line) + "\n")
        stream_.flush()
        os.fsync(stream_.fileno())


def journal() -> Iterator[dict[str, Any]]:
    """All decisions, oldest first; a line that a crash cut off is passed over."""
    if not JOURNAL.exists():
        return
    for line in JOURNAL.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def decided(candidate: str, rules: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last decision on this candidate by these rules, as long as it stands.

    A promotion ends with the next one of another candidate: who brings back the params and results of before
    wants their encoder back. A rollback does not end it: what was taken out of service stays out.
    """
    found = None
    for entry in journal():
        if entry.get("candidate") == candidate:
            found = entry if entry.get("rules") == digest(rules) else found
        elif found and found.get("decision") == entry.get("decision") == "promoted":
            found = None
    return found


def digest(values: Any) -> str:
    """A short name of plain values, such as the rules that a decision was made by."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def serving() -> str | None:
    """The version that `current` is; None where there is none."""
    return CURRENT.readlink().name if CURRENT.is_symlink() else None


def compared_with(before: str | None) -> str:
    """What is in service, in a sentence for the message of a failure; `before` was at the start."""
    now = serving()
    if now == before:
        return f"In service as before: {now or 'none'}."
    return f"In service now: {now}; before: {before or 'none'}."


def clean_up(registry: Registry) -> None:
    """Remove what a killed run left half done, and versions whose tags a person removed.

    Whoever calls this holds what is in service (`alone`).
    """
    kept = {serving(), *(version.name for version in registry.versions)}
    for leftover in (*SERVICE.glob(".*"), *SERVICE.glob("v*")):
        if leftover.is_dir() and leftover.name not in kept:
            shutil.rmtree(leftover, ignore_errors=True)


def _whole(folder: Path) -> bool:
    try:
        check_sums(folder)
    except (UserError, OSError):
        return False
    return True


def _forget_others(registry: Registry) -> None:
    """Keep the folders of the versions in service now and just before, and of the one to roll back to.

    A reader may have followed the link right before it was switched.
    """
    replaced = next(
        (version for version in reversed(registry.served) if version != registry.in_service), None
    )
    kept = {version.name for version in (registry.in_service, replaced, registry.before()) if version}
    for folder in SERVICE.glob("v*"):
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
