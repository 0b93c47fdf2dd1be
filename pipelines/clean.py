"""`infocl clean`: remove checkpoints that nobody goes on with, and DVC's data that nothing names any more."""

from __future__ import annotations

import re
import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path

from prefect import flow, get_run_logger

from infocl.runtime.errors import UserError
from infocl.runtime.lock import workspace
from infocl.runtime.paths import CHECKPOINTS
from infocl.runtime.text import counted, file_size
from pipelines.commands import Log, output_of
from pipelines.repository import git, require_repository

DAY = 86_400.0
COUNTED = re.compile(r"Removed (\d+) objects from (.+?)\.?$", re.MULTILINE)


@flow(name="clean", persist_result=False)
def clean(
    days: float = 90.0, remote: str | None = None, dry: bool = False, wait_minutes: float = 60.0
) -> None:
    """Remove old checkpoints, and data that no tag, branch, experiment or commit of the last days names.

    Args:
        days: how long both are kept.
        remote: a DVC remote that is cleaned as well.
        dry: only say what would be removed.
        wait_minutes: how long to wait for a workspace that is in use.
    """
    clean_up(days, remote, get_run_logger().info, 60 * wait_minutes, dry=dry)


def clean_up(days: float, remote: str | None, log: Log, wait_seconds: float, *, dry: bool) -> None:
    """Remove, or with `dry` only name, what `clean` describes.

    Args:
        days: since a checkpoint was written, and since a commit was made; 0 or more.
        remote: a DVC remote that is cleaned as well; tags of all git remotes are fetched first, so that what
            others put in service is kept there.
        log: takes lines for people.
        wait_seconds: how long to wait for a workspace that is in use.
        dry: remove nothing.

    Raises:
        UserError: there is no such DVC remote.
        CommandError: a git remote does not answer, or what a commit names cannot be told; then no data of DVC
            are removed.
    """
    require_repository()
    if remote is not None:
        _require_remote(remote)
    with workspace("infocl clean", wait_seconds, lambda holder: log(f"Waiting for {holder}.")):
        verb = "Would remove" if dry else "Removed"
        for folder, size in abandoned(days):
            if not dry:
                shutil.rmtree(folder)
            log(f"{verb} the checkpoint {folder} ({file_size(size)}).")
        if remote is not None:
            for name in git("remote").split():
                git("fetch", "--quiet", "--tags", "--", name)
        output = output_of(_collect(days, remote, dry))
    found = COUNTED.findall(output)
    for count, where in found:
        place = f"the DVC remote {remote}" if where == "remote" else "DVC's cache"
        log(f"{verb} {counted(int(count), 'file')} from {place}.")
    if not found:
        log("All that DVC holds is named by a tag, a branch, an experiment or a commit of these days.")


def abandoned(days: float) -> list[tuple[Path, int]]:
    """Folders of checkpoints not written to for so many days, and their sizes in bytes."""
    found = []
    for folder in sorted(CHECKPOINTS.glob("*")):
        files = [path.stat() for path in folder.rglob("*") if path.is_file()]
        newest = max((status.st_mtime for status in files), default=folder.stat().st_mtime)
        if folder.is_dir() and time.time() - newest >= days * DAY:
            found.append((folder, sum(status.st_size for status in files)))
    return found


def _collect(days: float, remote: str | None, dry: bool) -> list[str]:
    """DVC's own collection; a version is a tag, and so is a stage that names one."""
    since = (datetime.now().astimezone() - timedelta(days=days)).date().isoformat()
    kept = ["--workspace", "--all-branches", "--all-tags", "--all-experiments", "--date", since]
    there = [] if remote is None else ["--cloud", "--remote", remote]
    return ["dvc", "gc", *kept, *there, "--force", *(["--dry"] if dry else [])]


def _require_remote(remote: str) -> None:
    names = re.findall(r"^remote\.(.+)\.url=", output_of(["dvc", "config", "--list"]), re.MULTILINE)
    if remote not in names:
        raise UserError(
            f"{remote} is not a DVC remote of this project ({', '.join(names) or 'it has none'}); "
            "name one of them"
        )
