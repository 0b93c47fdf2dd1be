"""`infocl retrain`: rerun what changed, judge the encoder, put it in service or refuse it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_link_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from infocl.config.file import PARAMS_FILE, read_yaml
from infocl.deploy.exported import Export
from infocl.runtime.errors import UserError, in_words, one_line
from infocl.runtime.lock import workspace
from infocl.runtime.paths import EXPORT
from pipelines import cleanup, heartbeat, notices, reports, service, unfinished, versions
from pipelines.changes import find_changes
from pipelines.interrupts import keep_listening
from pipelines.promotion import decide, publish_in_service, warn_of_unreachable_rules
from pipelines.remote import if_it_answers, require_merged, require_names, take_tags
from pipelines.repository import OURS, branch, commit_results, require_repository
from pipelines.reproduce import RETRY_SECONDS, has_remote, patient, reproduce
from pipelines.sources import record_data, update
from pipelines.status import REFUSED, Outcome, nothing_to_do, require_unchanged, rules_in_force
from pipelines.waiting import Place, SuperfluousError

TITLES = {"promoted": "Promoted", "staged": "Staged", "unchanged": "Nothing changed"}


@flow(name="retrain", persist_result=False)
def retrain(
    track: str | None = None,
    gate: dict[str, Any] | None = None,
    force: bool = False,
    wait_minutes: float = 60.0,
    retry_seconds: list[float] | None = None,
    notify: str | None = None,
    git_remote: str | None = None,
    staging: bool = False,
    report_url: str | None = None,
) -> State[Any]:
    """Rerun what changed, judge the new encoder against the one in service, promote or refuse it.

    Args:
        track: a branch whose new commits are merged first, such as origin/main.
        gate: thresholds other than those in params.yaml, such as {"max_mean_drop": 0.01}.
        force: put the new encoder in service whatever the gate says; the table says so.
        wait_minutes: how long to wait for a workspace that is in use.
        retry_seconds: pauses before what a lost connection or a full GPU stopped is tried again.
        notify: a notification block that is told of refusals and failures, such as slack-webhook/ops.
        git_remote: where commits and tags are pushed after a promotion; none: they stay here.
        staging: let a new version wait for approval (`infocl promote`) instead of putting it in service.
        report_url: where `pipelines.serve` shows reports, for links.
    """
    log = get_run_logger()
    keep_listening()
    notices.tag_starter()
    before, run = service.serving(), str(flow_run.get_name())
    place = Place(run, {"all": [track, gate, force, git_remote, staging]})

    def wait(holder: str) -> None:
        place.take()
        log.info(f"Waiting for {holder}.")

    try:
        require_repository()
        require_names(track, git_remote)
        branch()
        with workspace(f"flow run {run}", 60 * wait_minutes, wait) as lock:
            place.leave()
            retries = list(RETRY_SECONDS) if retry_seconds is None else retry_seconds
            with unfinished.marked(str(flow_run.get_id())) as killed:
                if killed is not None:
                    notices.show_ended(killed)
                outcome = _run(track, gate, force, retries, git_remote, staging, lock)
            if report_url and outcome.kind != "unchanged":
                _show_pages(report_url, run)
    except SuperfluousError as other:
        words = f"Nothing to do: the run {other} waits for this workspace and will see the same changes."
        log.info(words)
        return Completed(name="Nothing to do", message=words)
    except Exception as error:
        message = in_words(error) if isinstance(error, OSError) else None
        notices.notify(
            notify, "InfoCL: retraining failed", f"{message or error}. {service.compared_with(before)}"
        )
        if message:
            raise UserError(message) from None
        raise
    heartbeat.beat(log.warning)
    log.info(outcome.message)
    if outcome.kind == "refused":
        notices.notify(notify, "InfoCL: new encoder refused", outcome.message)
        return Failed(name=REFUSED, message=outcome.message)
    return Completed(name=TITLES[outcome.kind], message=outcome.message)


def _run(
    track: str | None,
    gate: Mapping[str, Any] | None,
    force: bool,
    retries: list[float],
    git_remote: str | None,
    staging: bool,
    lock: int | None,
) -> Outcome:
    log = get_run_logger()
    cleanup.clear(log.info)
    service.reconcile(log.info)
    patient(update, retries)(track)
    if git_remote is not None:
        if_it_answers(git_remote, take_tags, log.warning)
    if track is not None or git_remote is not None:
        service.reconcile(log.info)  # to what others put in service
    params = read_yaml(PARAMS_FILE)
    plan = find_changes()
    rules = rules_in_force(gate)
    if (done := nothing_to_do(plan, rules, forced=force)) is not None:
        if git_remote is not None:
            patient(publish_in_service, retries)(git_remote)
        return done
    if git_remote is not None:
        if_it_answers(git_remote, require_merged, log.warning)
    lines = plan.lines() or ["the last result was not judged yet"]
    notices.show_plan(lines)
    headline = lines[0] if plan.empty else plan.headline()
    _rename(headline)
    for line in lines:
        log.info(line)
    warn_of_unreachable_rules(rules, log.warning)
    tracked = record_data(plan.data)
    pull = has_remote()
    for stage in plan.stages:
        require_unchanged(params)
        pull = patient(reproduce, retries, stage)(stage, plan.why(stage), lock, pull)
    require_unchanged(params)
    commit = commit_results(f"{OURS}{headline}", tracked)
    if commit:
        log.info(f"Results are commit {commit[:7]}.")
    notices.show_metrics(Export(EXPORT).card.metrics)
    options: dict[str, Any] = {"git_remote": git_remote, "retries": retries, "staging": staging}
    while (outcome := decide(rules, message=headline, forced=force, **options)) is None:
        log.info("Another version was put in service meanwhile: judging against that.")
    return outcome


def _show_pages(report_url: str, run: str) -> None:
    report = reports.keep(report_url, run)
    create_link_artifact(report, key="report", link_text="What was learned, and what it cost")
    try:
        versions.write_page()
    except Exception as error:  # old cards of any form; what was decided stands
        get_run_logger().warning(f"The page of versions was not written ({one_line(error)}).")
        return
    page = f"{report_url.rstrip('/')}/{versions.PAGE.name}"
    create_link_artifact(page, key="versions", link_text="All versions, and what was decided on each")


def _rename(headline: str) -> None:
    """Name the run by what changed, so that a list of runs can be read."""
    name = headline if len(headline) <= 80 else headline[:77] + "..."
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.get_id()), name=name)
