"""The commands of `infocl` that work in a project, which are `python -m pipelines NAME`.

What needs Prefect is imported when it is needed, so that a run that finds nothing to do ends at once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

from infocl.runtime.errors import guarded
from infocl.runtime.lock import BusyError
from pipelines import heartbeat
from pipelines.changes import find_changes
from pipelines.remote import require_names
from pipelines.repository import branch, require_repository
from pipelines.status import REFUSED, Outcome, nothing_to_do, rules_in_force

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

REFUSED_CODE = 3  # exit code of a run whose encoder the gate refused

Track = Annotated[str | None, typer.Option(help="Merge new commits of this branch first, as origin/main.")]
Notify = Annotated[str | None, typer.Option(help="Notification block, such as slack-webhook/ops.")]
GitRemote = Annotated[str | None, typer.Option(help="Push commits and tags there, such as origin.")]
Wait = Annotated[float, typer.Option(help="Minutes to wait for a workspace that is in use.")]


app = typer.Typer(add_completion=False)
P = ParamSpec("P")


def program(work: Callable[P, int | None]) -> Callable[P, NoReturn]:
    """Let a function end the process by the project's contract of exit codes."""

    @functools.wraps(work)
    def run(*arguments: P.args, **options: P.kwargs) -> NoReturn:
        codes: list[int | None] = []
        failed = guarded(lambda: codes.append(work(*arguments, **options)))
        sys.exit(failed or codes[0])

    return run


def command(work: Callable[P, int | None]) -> Callable[P, NoReturn]:
    """Make a function the command of its name."""
    return app.command(work.__name__)(program(work))


@command
def retrain(
    track: Track = None,
    force: Annotated[
        bool, typer.Option(help="Put the new encoder in service whatever the gate says.")
    ] = False,
    wait: Wait = 60.0,
    notify: Notify = None,
    git_remote: GitRemote = None,
    staging: Annotated[
        bool, typer.Option(help="Let a new version wait for `infocl promote`; the old one stays in service.")
    ] = False,
) -> int:
    """Rerun what changed, judge the encoder, put it in service or keep the old one."""
    require_repository()
    require_names(track, git_remote)
    branch()
    if track is None and git_remote is None and (done := _nothing_to_do(force)):
        heartbeat.beat(print)
        print(done.message)
        return 0
    from pipelines.retrain import retrain
    from pipelines.temporary_server import reachable_server

    with reachable_server():
        shared: dict[str, Any] = {"track": track, "notify": notify, "git_remote": git_remote}
        return _exit_code(
            retrain(**shared, force=force, staging=staging, wait_minutes=wait, return_state=True)
        )


@command
def rollback(
    to: Annotated[str | None, typer.Option(help="A version such as v1.2.0; none: the one before.")] = None,
    wait: Wait = 1.0,
    git_remote: GitRemote = None,
) -> None:
    """Put the previous version of the encoder back in service."""
    from pipelines.rollback import roll_back

    roll_back(to, git_remote, print, 60 * wait)


@command
def promote(
    version: Annotated[str | None, typer.Argument(help="Such as v1.2.0; none: the one that waits.")] = None,
    reject: Annotated[bool, typer.Option(help="Take it out of staging; the old one stays.")] = False,
    wait: Wait = 1.0,
    git_remote: GitRemote = None,
) -> None:
    """Put the version that waits in staging in service."""
    from pipelines.approval import approve

    approve(version, git_remote, print, 60 * wait, reject=reject)


@command
def sweep(
    overrides: Annotated[list[str], typer.Option("-S", "--set-param", help="Such as reg.weight=0,0.1,1.")],
    until: Annotated[str, typer.Option(help="The last stage to run; transfer suffices.")] = "report",
    pool: Annotated[
        str | None,
        typer.Option(help="A Prefect work pool whose workers run them, in clones of their own."),
    ] = None,
    git_remote: Annotated[str, typer.Option(help="By which a pool's workers hand them over.")] = "origin",
) -> int:
    """Run a DVC experiment for each combination of values and show their table."""
    require_repository()
    from pipelines.sweep import expand, require_table, sweep
    from pipelines.temporary_server import reachable_server, require_server

    require_table(until)
    expand(overrides)
    if pool is not None:
        from pipelines.pool import require_pool

        require_server()
        require_pool(pool, git_remote)
    with reachable_server():
        return _exit_code(sweep(overrides, until, pool, git_remote, return_state=True))


@command
def versions() -> None:
    """Print all versions of the encoder and write them as one page."""
    require_repository()
    from pipelines.versions import print_versions

    print_versions()


@command
def clean(
    days: Annotated[float, typer.Option(help="How long checkpoints and data are kept.", min=0.0)] = 90.0,
    remote: Annotated[str | None, typer.Option(help="Clean this DVC remote as well.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove, not only say what would be.")] = False,
    wait: Wait = 1.0,
) -> None:
    """Say, or remove with --yes, old checkpoints and data that no version, branch or experiment names."""
    from pipelines.clean import clean_up

    clean_up(days, remote, print, 60 * wait, dry=not yes)
    if not yes:
        print("Nothing was removed; infocl clean --yes does it.")


@command
def automations(
    block: Annotated[str, typer.Argument(help="Notification block, such as slack-webhook/ops.")],
    hours: Annotated[
        float, typer.Option(help="Without a retraining that are too many; more than the schedule's interval.")
    ] = 26.0,
) -> None:
    """Let the Prefect server tell of late, missing, crashed, failed and refused runs, and of drift."""
    from pipelines.automations import register
    from pipelines.temporary_server import require_server

    require_server()
    for name in register(block, hours):
        print(f"{name}: told by {block}.")


def _nothing_to_do(forced: bool) -> Outcome | None:
    """The outcome of a run that would do nothing; None when there is work, or another is at work here."""
    try:
        return nothing_to_do(find_changes(), rules_in_force(None), forced=forced)
    except BusyError:
        return None


def _exit_code(state: State[Any]) -> int:
    """0 done, 3 refused; what failed is raised again."""
    if state.name == REFUSED:
        return REFUSED_CODE
    state.result(raise_on_failure=True)
    return 0
