"""From a finished reproduction to an encoder in service, or to a refusal. Every step can be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import get_run_logger, task

from infocl.config import GateParams
from infocl.results.card import CARD_FILE, HINT
from infocl.runtime.errors import InfoCLError, one_line
from infocl.runtime.files import read_json
from infocl.runtime.paths import EXPORT
from pipelines import notices, service
from pipelines.commands import Log
from pipelines.differences import ExportedEncoder, read_encoder
from pipelines.gate import Verdict, judge, unreachable
from pipelines.latency import seconds_of
from pipelines.measure import best_so_far, untrained_accuracies
from pipelines.registry import (
    FORCED,
    STAGE,
    STAGING,
    Registry,
    Version,
    adopt,
    draft,
    export_md5,
    read_registry,
    tags_of,
)
from pipelines.remote import publish, tags_there
from pipelines.repository import head
from pipelines.reproduce import has_remote, helps, patient, push
from pipelines.status import Outcome, stays_out


@task(task_run_name="gate", persist_result=False)
def gate(registry: Registry, rules: GateParams, forced: bool) -> Verdict:
    """Judge the export in this work tree against the encoder in service, and the best one so far.

    Raises:
        CommandError: the export is not sound.
    """
    log = get_run_logger()
    service.verify(EXPORT, log.info)
    now = registry.in_service
    new, old = _measured(service.place(now, log.info) if now else None)
    best = best_so_far(registry, new, old, log.info) if old else None
    verdict = judge(new, old, rules, best=best, untrained=untrained_accuracies())
    outcome = "Passed" if verdict.passed else "Forced past the gate" if forced else "Refused"
    notices.show_verdict(verdict, (now.name if now else "none in service", "candidate"), outcome)
    for check in verdict.checks:
        log.info(
            f"{'passed' if check.passed else 'FAILED'}  {check.what}: {check.now or '-'} -> {check.new} "
            f"({check.rule})"
        )
    return verdict


def _measured(in_service: Path | None) -> tuple[ExportedEncoder, ExportedEncoder | None]:
    if in_service is None:
        return read_encoder(EXPORT), None
    new, now = seconds_of([EXPORT, in_service])
    return read_encoder(EXPORT, new), read_encoder(in_service, now)


@task(task_run_name="promote", retry_condition_fn=helps, persist_result=False)
def promote(
    version: Version, judged_against: Version | None, tags: Mapping[str, str], remote: str | None
) -> bool:
    """Log a version's stage by git tags: on the git remote, if there is one, and only then here.

    Args:
        version: a new one, made by the newest commit, or one that there is already.
        judged_against: what was in service when the gate looked.
        tags: as `draft` made them; the same for each try, so that one whose answer was lost does no harm.
        remote: where branch and tags go.

    Returns:
        Whether it was done; not where another is in service by now, by a rollback.

    Raises:
        CommandError: the version cannot be had back from DVC, or the git remote refuses or does not answer.
    """
    log = get_run_logger()
    with service.alone(), service.placing(version, log.info):  # placed first, because a disk may be full
        if read_registry().in_service != judged_against:
            return False
        if remote is not None:
            publish(remote, tags_of(version) | dict(tags))
        adopt(tags)
    log.info(f"{version.name} has the tags {', '.join(tags)}.")
    return True


@task(task_run_name="publish", retry_condition_fn=helps, persist_result=False)
def publish_in_service(remote: str) -> None:
    """Push what was put in service when no git remote was named; otherwise this does nothing.

    Raises:
        CommandError: the git remote does not answer or refuses.
    """
    version = read_registry().in_service
    tags, there = tags_of(version) if version else {}, tags_there(remote)
    if any(there.get(tag) != name for tag, name in tags.items()):
        publish(remote, tags)


def warn_of_unreachable_rules(rules: GateParams, log: Log) -> None:
    """Log before any training which margins are too narrow for the number of test images."""
    now = read_registry().in_service
    if now is not None:
        for line in unreachable(read_encoder(service.place(now, log)), rules):
            log(line)


def decide(
    rules: GateParams,
    *,
    message: str,
    forced: bool,
    git_remote: str | None,
    retries: Sequence[float],
    staging: bool,
) -> Outcome | None:
    """Judge, then put in service (or in staging) or refuse; the decision goes into the journal.

    Returns:
        None where what is in service changed while this judged.
    """
    candidate = export_md5()
    assert candidate is not None
    registry = read_registry()
    now = registry.in_service
    if now is not None and export_md5(now.commit) == candidate:
        message = f"The encoder came out as it was, byte for byte; {now.name} stays in service."
        return Outcome("unchanged", message, now.name)
    if (withdrawn := registry.withdrawn(candidate)) and not forced:
        return Outcome("refused", stays_out(withdrawn, registry))
    verdict = gate(registry, rules, forced)
    if not verdict.passed and not forced:
        service.record("refused", candidate, rules.model_dump(), reason=verdict.reason)
        kept = f"{now.name} stays in service" if now else "none is in service"
        return Outcome("refused", f"The new encoder was refused, {kept}: {verdict.reason}.")
    if has_remote():
        patient(push, retries)()
    message = message if verdict.passed else f"{FORCED}{message}"
    version = registry.made_by(candidate) or Version(registry.next_name(_kind_of_change(registry)), head())
    try:
        done = patient(promote, retries)(
            version, now, draft(version, message, STAGING if staging else STAGE), git_remote
        )
    except (InfoCLError, OSError) as error:
        # No decision on the candidate: the next run tries again.
        service.record("failed", candidate, {}, version=version.name, reason=one_line(error))
        raise
    if not done:
        return None
    if staging:
        service.record("staged", candidate, rules.model_dump(), version=version.name, reason=verdict.reason)
        waits = f"{version.name} waits in staging: {verdict.reason}; infocl promote puts it in service."
        return Outcome("staged", waits, version.name)
    service.record("promoted", candidate, rules.model_dump(), version=version.name, reason=verdict.reason)
    service.reconcile(get_run_logger().info)
    replaced = f" in place of {now.name}" if now and now != version else ""
    return Outcome("promoted", f"{version.name} is in service{replaced}: {verdict.reason}.", version.name)


def _kind_of_change(registry: Registry) -> str:
    """Major where consumers must change something, minor for other weights, patch for the same ones."""
    before = registry.in_service
    folder = service.SERVICE / before.name if before else None
    if folder is None or not folder.is_dir():
        return "minor"
    new, old = (read_json(place / CARD_FILE, HINT) for place in (EXPORT, folder))
    if any(new.get(key) != old.get(key) for key in ("format", "dim", "input", "output", "normalized")):
        return "major"
    return "minor" if new.get("weights_sha256") != old.get("weights_sha256") else "patch"
