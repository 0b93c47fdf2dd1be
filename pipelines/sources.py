"""New versions of data and code that others made: a tracked branch, imported data, data tracked by DVC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from prefect import get_run_logger, task

from infocl.runtime.errors import UserError, one_line
from pipelines.commands import stream
from pipelines.repository import bring_in, git
from pipelines.reproduce import helps


@task(task_run_name="update", retry_condition_fn=helps, persist_result=False)
def update(track: str | None) -> None:
    """Merge a tracked branch, fetch the data that it names, and update imports whose source moved on.

    Raises:
        CommandError: a remote does not answer, or a person has to merge.
    """
    log = get_run_logger()
    if track is not None and bring_in(track):
        log.info(f"New commits of {track} are merged.")
        if files := data_files():
            stream(["dvc", "pull", "--", *files], log.info)
    for file in outdated_imports():
        stream(["dvc", "update", "--", file], log.info)


def data_files() -> list[str]:
    """The `.dvc` files of this project: those in git, and those that may be added to it."""
    listed = git("ls-files", "-co", "--exclude-standard", "-z", "--", "*.dvc").split("\0")
    return sorted({name for name in listed if name and Path(name).is_file()})


def outdated_imports() -> list[str]:
    """Imports (dvc import, import-url) whose source has a newer version.

    Raises:
        UserError: DVC cannot read them; their source may not answer.
    """
    if not data_files():
        return []
    try:
        with Repo(".") as repo:
            imports = [stage for stage in repo.index.stages if stage.is_import]
            return [stage.relpath for stage in imports if stage.deps[0].status()]
    except DvcException as error:
        raise UserError(f"imported data cannot be looked at ({one_line(error)})") from None


def record_data(files: Sequence[str]) -> list[str]:
    """Let DVC take up data that were changed in this workspace; returns the `.dvc` files.

    Raises:
        CommandError: DVC cannot read them.
    """
    log = get_run_logger()
    for file in files:
        stream(["dvc", "commit", "--force", "--", file], log.info)
    return [*files, *data_files()]
