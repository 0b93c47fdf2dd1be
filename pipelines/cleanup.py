"""What a kill or a restart of the machine leaves behind; the next run clears it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
from dvc.lock import make_lock
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from infocl.runtime.files import parse_json
from infocl.runtime.lock import is_dvc
from pipelines.commands import Log
from pipelines.repository import git

LOCK_FILE = Path("dvc.lock")
DVC_TMP = Path(".dvc/tmp")


def clear(log: Log) -> None:
    """Clear locks whose owners are gone and files cut off in the middle.

    Nothing is touched that a running `git` or `dvc` may own.
    """
    _clear_git(log)
    _clear_dvc(log)
    _restore_lock_file(log)


def _clear_git(log: Log) -> None:
    """Git never removes the lock of a process that was killed, and refuses every commit from then on."""
    folder = Path(git("rev-parse", "--git-dir"))
    locks = [folder / "index.lock", folder / "HEAD.lock", folder / "packed-refs.lock"]
    locks = [lock for lock in (*locks, *(folder / "refs").rglob("*.lock")) if lock.exists()]
    if not locks or any(_works_here(process, "git") for process in psutil.process_iter()):
        return
    for lock in locks:
        lock.unlink(missing_ok=True)
        log(f"Removed {lock}, which a killed git left.")


def _clear_dvc(log: Log) -> None:
    """DVC takes a lock for held when any process has its owner's number, as after a restart."""
    path = DVC_TMP / "rwlock"
    if not path.exists():
        return
    with make_lock(str(DVC_TMP / "rwlock.lock"), tmp_dir=str(DVC_TMP)):
        try:
            held: dict[str, Any] = {"write": {}, "read": {}} | parse_json(path.read_bytes())
            readers = {name: list(filter(_is_dvc, owners)) for name, owners in held["read"].items()}
            live = {
                "write": {name: owner for name, owner in held["write"].items() if _is_dvc(owner)},
                "read": {name: owners for name, owners in readers.items() if owners},
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            path.unlink()
            log(f"Removed {path}, which a killed dvc left cut off.")
            return
        if live != held:
            path.write_text(json.dumps(live), encoding="utf-8")
            log(f"Cleared {path} of what a killed dvc held.")


def _is_dvc(owner: dict[str, Any]) -> bool:
    try:
        return is_dvc(psutil.Process(owner["pid"]))
    except psutil.Error:
        return False


def _works_here(process: psutil.Process, name: str) -> bool:
    try:
        return bool(process.name() == name and Path(process.cwd()).is_relative_to(Path.cwd()))
    except (psutil.Error, OSError):
        return False


def _restore_lock_file(log: Log) -> None:
    """A `dvc.lock` that was cut off while it was written is taken from git; DVC's cache has the rest."""
    if not LOCK_FILE.exists():
        return
    try:
        whole = isinstance(YAML(typ="safe").load(LOCK_FILE.read_text(encoding="utf-8")), dict)
    except (YAMLError, UnicodeDecodeError):
        whole = False
    if whole:
        return
    if git("ls-tree", "HEAD", "--", str(LOCK_FILE)):
        git("checkout", "HEAD", "--", str(LOCK_FILE))
    else:
        LOCK_FILE.unlink()
    log(f"{LOCK_FILE} was cut off; the last committed one is back.")
