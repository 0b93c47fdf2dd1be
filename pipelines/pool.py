"""A sweep on a Prefect work pool: one run of the flow `experiment` for each combination."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID

from prefect import task
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType, WorkerStatus
from prefect.deployments import run_deployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed

from infocl.runtime.errors import UserError
from infocl.runtime.text import counted
from pipelines.commands import Log
from pipelines.experiment import experiment, on_remote, ref
from pipelines.repository import git, uncommitted
from pipelines.reproduce import RETRY_SECONDS, has_remote, helps, patient
from pipelines.service import digest

HEARTBEAT = 30  # seconds between two signs of life of a run; Prefect sends none more often
SILENCE = 120.0  # seconds after which the server takes the run for dead
PENDING = 600.0  # seconds that a run may take from its worker to its first line
TRIES = 3  # of one combination whose worker dies
POLL_SECONDS = 2.0
CLONE = "INFOCL_WORKSPACE"  # a worker's own variable
PREFIX = re.compile(r"^Flow run encountered an exception: (?:\w+: )?")


def require_pool(pool: str, remote: str) -> None:
    """Refuse to begin what workers could not do or hand over.

    Raises:
        UserError: there is no such work pool, git remote or DVC remote; or this clone's state is not on the
            git remote.
    """
    try:
        with get_client(sync_client=True) as client:
            client.read_work_pool(pool)
    except ObjectNotFound:
        raise UserError(
            f"there is no work pool {pool!r} on {PREFECT_API_URL.value()}; make it: "
            f"prefect work-pool create --type process {pool}"
        ) from None
    remotes = git("remote").split()
    if remote not in remotes:
        raise UserError(
            f"workers hand experiments over through the git remote {remote!r}, but this clone has "
            f"{', '.join(remotes) or 'none'}; add it (git remote add), or name another by --git-remote"
        )
    if not has_remote():
        raise UserError(
            "workers hand results over through a DVC remote, but this project has no default one; "
            "add it (dvc remote add --default NAME URL), commit and push"
        )
    if changed := uncommitted():
        raise UserError(f"{changed} changed here, which no worker would know; commit and push, or git stash")
    if git("rev-list", "-1", "HEAD", "--not", f"--remotes={remote}"):
        raise UserError(f"the newest commit is not on {remote}, where workers look for it; git push it first")


def name_of(commit: str, settings: Sequence[str], until: str) -> str:
    """The experiment's name: the same for the same combination from the same commit."""
    return f"sweep-{digest([commit, list(settings), until])}"


@dataclass
class Asked:
    """A run that was asked for.

    Attributes:
        run: its number on the server.
        tries: runs of its combination so far.
        since: when it last was not with a worker that had not begun it yet, in seconds.
    """

    run: UUID
    tries: int = 1
    since: float = field(default_factory=time.monotonic)


def run_on_pool(
    pool: str, remote: str, commit: str, grid: Mapping[str, Sequence[str]], until: str, log: Log
) -> dict[str, str]:
    """Have each experiment run by some worker of a pool, and bring it into this clone as soon as it is done.

    An experiment that the git remote has is not run again. Where a worker dies, another one takes its place.

    Args:
        pool: the work pool.
        remote: git remote by which experiments are handed over, in this clone and in those of the workers.
        commit: that they start from; the remote has it.
        grid: settings by name of the experiment.
        until: the last stage.
        log: takes lines for people.

    Returns:
        Why, for each experiment that failed.

    Raises:
        CommandError: the git remote does not answer.
    """
    done = set(patient(fetch, RETRY_SECONDS)(remote, commit, list(grid)))
    log(f"{counted(len(grid), 'experiment')}, {len(grid) - len(done)} of them missing.")
    if len(done) == len(grid):
        return {}
    _end_silent_runs()
    failed: dict[str, str] = {}
    with get_client(sync_client=True) as client:
        same = {"commit": commit, "until": until, "git_remote": remote}
        ask = partial(_ask, client, _deploy(client, pool), same)
        asked, online = {name: Asked(ask(name, grid[name])) for name in grid if name not in done}, True
        while asked:
            online = _tell_of_workers(client, pool, online, log)
            for name, one in list(asked.items()):
                state = client.read_flow_run(one.run).state
                if state is None or not (state.is_final() or _stuck(client, one, state.type)):
                    continue
                del asked[name]
                if state.is_completed():
                    patient(fetch, RETRY_SECONDS)(remote, commit, [name])
                    done.add(name)
                    log(f"{len(done)} of {len(grid)} are here: {' '.join(grid[name])}.")
                elif state.is_failed() or state.is_cancelled() or one.tries == TRIES:
                    failed[name] = PREFIX.sub("", state.message or state.name or "it gave no reason")
                    log(f"{' '.join(grid[name])} failed: {failed[name]}")
                else:
                    log(f"The worker of {' '.join(grid[name])} died; another one is asked.")
                    asked[name] = Asked(ask(name, grid[name]), one.tries + 1)
            time.sleep(POLL_SECONDS)
    return failed


@task(task_run_name="fetch", retry_condition_fn=helps, persist_result=False)
def fetch(remote: str, commit: str, names: Sequence[str]) -> list[str]:
    """Bring experiments into this clone, without their weights; the names of those that the remote has.

    Raises:
        CommandError: the remote does not answer.
    """
    there = [name for name in on_remote(remote, commit) if name in names]
    new = [ref(commit, name) for name in there if not git("for-each-ref", ref(commit, name))]
    if new:
        git("fetch", "--quiet", "--no-tags", "--", remote, *(f"{one}:{one}" for one in new))
    return there


def _deploy(client: SyncPrefectClient, pool: str) -> UUID:
    """Let workers of a pool know the flow; each runs it in the clone that its own environment names."""
    clone = {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $" + CLONE + " }}"}}
    return client.create_deployment(
        client.create_flow(experiment),
        f"sweep-{pool}",
        work_pool_name=pool,
        entrypoint=f"{experiment.__module__}.{experiment.name}",
        pull_steps=[clone],
        job_variables={"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT)}},
        enforce_parameter_schema=False,
    )


def _ask(
    client: SyncPrefectClient, deployment: UUID, same: Mapping[str, str], name: str, settings: Sequence[str]
) -> UUID:
    """The run of an experiment that was asked for before and has not ended, or a new one."""
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment]}}),
        flow_run_filter=FlowRunFilter.model_validate(
            {"tags": {"all_": [name]}, "state": {"type": {"not_any_": list(TERMINAL_STATES)}}}
        ),
        limit=1,
    )
    if found:
        return found[0].id
    asked = run_deployment(
        deployment,
        parameters={"name": name, "settings": list(settings), **same},
        flow_run_name=" ".join(settings),
        tags=[name],
        timeout=0,
        as_subflow=False,
    )
    assert isinstance(asked, FlowRun)
    return asked.id


def _stuck(client: SyncPrefectClient, one: Asked, state: StateType) -> bool:
    """Whether a worker took a run long ago and never began it; it ends as crashed then."""
    if state != StateType.PENDING:
        one.since = time.monotonic()
        return False
    if time.monotonic() - one.since < PENDING:
        return False
    message = f"Its worker took it and did not begin it for {PENDING:g} s."
    client.set_flow_run_state(one.run, Crashed(message=message), force=True)
    return True


def _tell_of_workers(client: SyncPrefectClient, pool: str, before: bool, log: Log) -> bool:
    """Whether a worker of the pool is online; says so where none is any more."""
    workers = client.read_workers_for_work_pool(pool)
    online = any(worker.status == WorkerStatus.ONLINE for worker in workers)
    if before and not online:
        log(
            f"No worker of the work pool {pool} is online; the experiments wait for one. In a clone: "
            f"{CLONE}=$PWD prefect worker start --pool {pool}"
        )
    return online


def _end_silent_runs() -> None:
    """Let the server end runs as crashed that gave no sign of life, as where a whole machine went down.

    What is registered already stays, because it knows who was silent since when.
    """
    name = f"InfoCL: experiments silent for {SILENCE:g} s"
    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(name):
            return
    ends = ("heartbeat", "Completed", "Failed", "Crashed", "Cancelled")
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": experiment.name},
        for_each={"prefect.resource.id"},
        after={"prefect.flow-run.heartbeat"},
        expect={f"prefect.flow-run.{end}" for end in ends},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENCE),
    )
    message = f"It gave no sign of life for {SILENCE:g} s."
    ending = ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)
    Automation(name=name, trigger=trigger, actions=[ending]).create()
