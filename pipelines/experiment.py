"""The flow `experiment`: one combination of a sweep, run by a worker of a work pool in a clone of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run, task_run
from prefect.states import Completed

from infocl.config.file import PARAMS_FILE, read_yaml
from infocl.experiments.dvc_command import downloads
from infocl.experiments.overrides import overridden
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.lock import workspace
from pipelines import cleanup
from pipelines.commands import CommandError, stream
from pipelines.remote import require_names
from pipelines.repository import git, head, known, require_repository, uncommitted
from pipelines.reproduce import RETRY_SECONDS, helps, patient

COMMIT = re.compile(r"[0-9a-f]{40,64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


@flow(name="experiment", persist_result=False)
def experiment(name: str, commit: str, settings: list[str], until: str, git_remote: str) -> State[Any]:
    """Run one DVC experiment in this clone, send its results to the DVC remote and itself to the git remote.

    One that the git remote has is not run again. One experiment at a time runs in a clone.

    Args:
        name: of the experiment.
        commit: to start from; it is checked out.
        settings: overrides of params.yaml such as ["reg.weight=0.1", "seed=0"].
        until: the last stage to run.
        git_remote: a remote of this clone, such as origin.
    """
    log = get_run_logger()
    require_repository()
    require_names(None, git_remote)
    if not (COMMIT.fullmatch(commit) and NAME.fullmatch(name)):
        raise UserError(f"{name!r} from {commit!r} is not an experiment's name and a commit's full hash")
    holder = f"flow run {flow_run.get_name()}"
    with workspace(holder, float("inf"), lambda other: log.info(f"Waiting for {other}.")) as lock:
        if on_remote(git_remote, commit, name):
            return Completed(message=f"The git remote {git_remote} has the experiment {name} already.")
        cleanup.clear(log.info)
        check_out(commit, git_remote)
        if not git("for-each-ref", ref(commit, name)):  # one that was not pushed is not run again either
            patient(run, RETRY_SECONDS)(name, settings, until, lock, pull=True)
        patient(push, RETRY_SECONDS)(git_remote, commit, name)
    return Completed(message=f"The experiment {name} is on the git remote {git_remote}.")


def ref(commit: str, name: str) -> str:
    """Where DVC keeps an experiment in git."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def on_remote(remote: str, commit: str, name: str = "*") -> list[str]:
    """Names of the experiments from a commit that a git remote has; `name` alone, if it is given.

    Raises:
        CommandError: the remote does not answer.
    """
    listed = git("ls-remote", "--refs", "--", remote, ref(commit, name))
    return [line.rsplit("/", 1)[1] for line in listed.splitlines()]


def check_out(commit: str, remote: str) -> None:
    """Make this clone the commit that an experiment starts from.

    Raises:
        UserError: a person changed something here.
        CommandError: the git remote does not answer, or has no such commit.
    """
    if changed := uncommitted():
        raise UserError(f"{changed} changed in this clone; a worker needs a clone that nobody edits")
    if not known(commit):
        git("fetch", "--quiet", "--", remote)
    if head() != commit:
        git("switch", "--quiet", "--detach", commit)


def _settings() -> str:
    """The name of an experiment's task."""
    return " ".join(task_run.parameters["settings"])


@task(task_run_name=_settings, retry_condition_fn=helps, persist_result=False)
def run(
    name: str, settings: Sequence[str], until: str, lock: int | None = None, *, pull: bool = False
) -> None:
    """One experiment in a folder of its own.

    Args:
        name: of the experiment.
        settings: overrides of params.yaml.
        until: the last stage.
        lock: the workspace's, held until nothing of the experiment runs.
        pull: take what stages made before from the DVC remote.

    Raises:
        CommandError: a stage failed; the message is its own.
    """
    words = [word for setting in settings for word in ("-S", setting)]
    command = ["dvc", "exp", "run", "--temp", "--name", name, *words, *(["--pull"] if pull else [])]
    where = downloads(overridden(read_yaml(PARAMS_FILE), settings))
    stream([*command, "--", until], get_run_logger().info, keep=lock, environment=where)


@task(task_run_name="push", retry_condition_fn=helps, persist_result=False)
def push(remote: str, commit: str, name: str) -> None:
    """Send what the experiment made to the DVC remote, and only then the experiment to the git remote.

    Raises:
        CommandError: a remote does not answer or refuses. Sending again is always worth a try.
    """
    try:
        with Repo(".") as repo:
            repo.push(revs=[git("rev-parse", ref(commit, name))], workspace=False)
    except DvcException as error:
        raise CommandError(f"the DVC remote did not take {name} ({one_line(error)})", 1, True) from None
    try:
        git("push", "--quiet", "--", remote, f"{ref(commit, name)}:{ref(commit, name)}")
    except CommandError:
        if not on_remote(remote, commit, name):  # where another worker was first, its results are the same
            raise
