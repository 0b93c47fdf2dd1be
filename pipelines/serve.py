"""`python -m pipelines.serve`: a schedule and a watch; runs start here, in processes of their own."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any, cast
from zoneinfo import available_timezones

import typer
from prefect import Flow, serve
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from infocl.runtime.errors import UserError, one_line
from pipelines import reports
from pipelines.approval import promote
from pipelines.clean import clean
from pipelines.command_line import GitRemote, Notify, Track, program
from pipelines.drift import drift
from pipelines.notices import WATCH
from pipelines.remote import require_names
from pipelines.reports import LOCAL
from pipelines.repository import branch, newest, require_repository
from pipelines.retrain import retrain
from pipelines.rollback import rollback
from pipelines.status import idle
from pipelines.sweep import sweep
from pipelines.temporary_server import require_server
from pipelines.watch import Watch

RETRY_SECONDS = 5.0  # before a server that is down is asked again
APPROVAL_INTERVAL = timedelta(minutes=15)  # between two looks at what waits in staging


@program
def main(
    name: Annotated[str, typer.Option(help="Of the deployments; another for each workspace.")] = "served",
    cron: Annotated[str | None, typer.Option(help="When to retrain, such as '0 3 * * *'.")] = None,
    every: Annotated[
        float | None, typer.Option(help="Hours between two runs, instead of --cron.", min=0.0)
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of --cron, such as Europe/Berlin.")] = "UTC",
    watch: Annotated[bool, typer.Option(help="Start a run when data, params or branch change.")] = True,
    track: Track = None,
    notify: Notify = None,
    git_remote: GitRemote = None,
    staging: Annotated[bool, typer.Option(help="Let new versions wait for `infocl promote`.")] = False,
    approve_after: Annotated[
        float | None,
        typer.Option(help="Hours after which a version that waits goes in service unasked.", min=0.0),
    ] = None,
    drift_images: Annotated[
        str | None, typer.Option(help="Folder of new images; drift there is told, and starts a run.")
    ] = None,
    drift_cron: Annotated[str, typer.Option(help="When to look at them.")] = "0 6 * * *",
    report_port: Annotated[int, typer.Option(help="Of the report pages; 0: any.")] = 4280,
    report_host: Annotated[
        str, typer.Option(help="Name of this machine in links to reports; other machines may then read them.")
    ] = LOCAL,
    limit: Annotated[int, typer.Option(help="Runs at the same time; one of them at most reproduces.")] = 4,
) -> None:
    """Serve the flows of this workspace to the Prefect server in PREFECT_API_URL, until stopped."""
    schedule = _schedule(cron, every, timezone)
    others = {
        "drift": _looking(name, drift_images, drift_cron, timezone, notify),
        "promote": _approving(approve_after, git_remote, notify),
    }
    require_repository()
    require_names(track, git_remote)
    branch()
    require_server()
    if track is not None:
        newest(track)
    try:
        report_url = reports.serve(report_host, report_port)
    except OSError as error:
        raise UserError(
            f"the reports cannot be served on port {report_port} ({error}); take another --report-port"
        ) from None
    parameters = {
        "track": track,
        "notify": notify,
        "git_remote": git_remote,
        "report_url": report_url,
        "staging": staging or approve_after is not None,
    }
    _deployments(name, schedule, parameters, others)  # refuses what could never be served
    stop = Event()
    if watch:
        watcher = Watch(track, idle, lambda what, key: _ask(name, what, key), _print_line)
        Thread(target=watcher.run, args=(stop,), name="watch", daemon=True).start()
    try:
        while True:
            _wait_for_server()
            try:
                serve(*_deployments(name, schedule, parameters, others), limit=limit)
                return
            except Exception as error:  # a lost server shows as errors of many kinds
                _print_line(f"The server is lost ({_words(error)}); serving goes on when it is back.")
                time.sleep(RETRY_SECONDS)
    finally:
        stop.set()


def _schedule(cron: str | None, every: float | None, timezone: str, option: str = "--cron") -> dict[str, Any]:
    """The schedule of the command line, as deployments take it.

    Raises:
        UserError: it cannot be read.
    """
    if cron is None:
        return {"interval": timedelta(hours=every)} if every else {}
    if timezone not in available_timezones():
        raise UserError(f"--timezone {timezone} is not a time zone; name one such as Europe/Berlin")
    try:
        return {"schedule": Cron(cron, timezone=timezone)}
    except ValueError:
        raise UserError(
            f"{option} '{cron}' is not a schedule; write five fields such as '0 3 * * *'"
        ) from None


def _looking(name: str, images: str | None, cron: str, timezone: str, notify: str | None) -> dict[str, Any]:
    """How drift is looked for; without a folder by those alone who start the flow with one."""
    parameters = {"notify": notify, "retrain": f"retrain/retrain-{name}"}
    if images is None:
        return {"parameters": parameters}
    if not Path(images).is_dir():
        raise UserError(f"--drift-images {images} is not a folder; make it, or name another")
    at = _schedule(cron, None, timezone, "--drift-cron")
    return {"parameters": parameters | {"images": [images]}, **at}


def _approving(after: float | None, git_remote: str | None, notify: str | None) -> dict[str, Any]:
    parameters = {"git_remote": git_remote, "notify": notify}
    if after is None:
        return {"parameters": parameters}
    return {"parameters": parameters | {"after_hours": after}, "interval": APPROVAL_INTERVAL}


def _deployments(
    name: str, schedule: dict[str, Any], parameters: dict[str, Any], others: dict[str, dict[str, Any]]
) -> list[RunnerDeployment]:
    flows: list[tuple[Flow[..., Any], dict[str, Any]]] = [
        (retrain, {"parameters": parameters, **schedule}),
        (sweep, {}),
        (rollback, {"parameters": {"git_remote": parameters["git_remote"]}}),
        (drift, others["drift"]),
        (promote, others["promote"]),
        (clean, {}),
    ]
    kind = EntrypointType.MODULE_PATH
    made = [flow.to_deployment(f"{flow.name}-{name}", entrypoint_type=kind, **more) for flow, more in flows]
    return cast(list[RunnerDeployment], made)


def _ask(name: str, what: str, key: str) -> None:
    run_deployment(
        f"retrain/retrain-{name}",
        flow_run_name=what,
        timeout=0,
        idempotency_key=key,
        as_subflow=False,
        tags=[WATCH],
    )


def _wait_for_server() -> None:
    reported = False
    with get_client(sync_client=True) as client:
        while (problem := client.api_healthcheck()) is not None:
            if not reported:
                _print_line(
                    f"The Prefect server {client.api_url} does not answer ({problem}); waiting for it."
                )
            reported = True
            time.sleep(RETRY_SECONDS)


def _words(error: BaseException) -> str:
    """The first cause of a failure, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return one_line(error)


def _print_line(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    typer.run(main)
