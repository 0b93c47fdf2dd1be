"""Each DVC stage as a Prefect task: named, timed, logged line by line, retried where that helps."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from dvc.config import Config
from dvc.exceptions import DvcException
from prefect import get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from pipelines.commands import INTERRUPTED, CommandError, stream

HINT = re.compile(
    r"To (track the changes|enable auto staging)|\s*(git add|dvc config)|Use `dvc push`|"
    r"WARNING: Failed to pull run cache|ERROR: failed to reproduce .* without a confirmation"
)

RETRY_SECONDS = (30.0, 120.0)  # pauses before what a lost connection or a full GPU stopped is tried again

P = ParamSpec("P")
R = TypeVar("R")


def helps(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again later may help: a lost connection, a full GPU; never bad params."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, CommandError) and error.retryable


def patient(work: Task[P, R], seconds: Sequence[float], name: str | None = None) -> Callable[P, R]:
    """The task, tried again after each of these pauses where that may help."""
    again = work.with_options(name=name, retries=len(seconds), retry_delay_seconds=list(seconds))
    return cast(Callable[P, R], again)


@task(task_run_name="{stage}", retry_condition_fn=helps, persist_result=False)
def reproduce(stage: str, why: str, lock: int | None, pull: bool) -> bool:
    """Reproduce one stage as `dvc repro --single-item` does; `lock` is held until nothing of it runs.

    Args:
        stage: of dvc.yaml.
        why: it may run.
        lock: the workspace's.
        pull: take results that the DVC remote has, as `dvc repro --pull` does; if it gives none, go on.

    Returns:
        Whether to pull for the next stages.

    Raises:
        CommandError: the stage failed; the message is its own.
    """
    log = get_run_logger()
    log.info(f"{stage}: {why}")
    begun = False

    def show(line: str) -> None:
        nonlocal begun
        begun = begun or line.startswith(f"Running stage '{stage}'")
        if not HINT.match(line):
            log.info(line)

    command = ["dvc", "repro", "--single-item"]
    if pull:
        try:
            stream([*command, "--pull", "--", stage], show, keep=lock)
            return True
        except CommandError as error:
            if begun or error.code == INTERRUPTED:
                raise
            # Of a result that the cache lost, too, DVC says only that it does not overwrite the copy here.
            reason = "it has none or does not answer" if "without a confirmation" in str(error) else error
            log.warning(f"No result of {stage} came from the DVC remote ({reason}); the run goes on without.")
    stream([*command, "--", stage], show, keep=lock)
    return False


def has_remote() -> bool:
    """Whether this project has a default DVC remote."""
    try:
        return "remote" in Config.from_cwd()["core"]
    except DvcException:
        return False


@task(task_run_name="dvc push", retry_condition_fn=helps, persist_result=False)
def push() -> None:
    """Send data, weights and export to the DVC remote.

    Raises:
        CommandError: it does not answer or refuses. Sending again is always worth a try.
    """
    try:
        stream(["dvc", "push"], get_run_logger().info)
    except CommandError as error:
        message = (
            f"the DVC remote did not take the results, which stay here; the next run sends them ({error})"
        )
        raise CommandError(message, 1, True) from None
