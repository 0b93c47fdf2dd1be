"""From a finished reproduction to an encoder in service, or to a refusal. Every step can be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import get_run_logger, task

from infocl.config import GateParams
from infocl.layout import EXPORT
from pipelines import notices, service
from pipelines.commands import CommandError, output_of
from pipelines.gate import Encoder, Verdict, judge, read_encoder
from pipelines.latency import seconds_of
from pipelines.registry import Registry, Version, assign, export_md5, read_registry, register
from pipelines.repository import git, head, publish
from pipelines.reproduce import helps, patient, push
from pipelines.standing import Outcome, stays_out


@task(task_run_name="gate", persist_result=False)
def gate(now: Version | None, rules: GateParams, forced: bool) -> Verdict:
    """Judge the export in this work tree against the encoder in service, `now`.

    Raises:
        CommandError: the export is not sound.
    """
    log = get_run_logger()
    service.verify(EXPORT, log.info)
    folder = service.place(now, log.info) if now else None
    verdict = judge(*_measured(folder), rules)
    outcome = "Passed" if verdict.passed else "Forced past the gate" if forced else "Refused"
    notices.show_verdict(verdict, (now.name if now else "none in service", "candidate"), outcome)
    for check in verdict.checks:
        log.info(
            f"{'passed' if check.passed else 'FAILED'}  {check.what}: {check.now or '-'} -> {check.new} "
            f"({check.rule})"
        )
    return verdict


def _measured(in_service: Path | None) -> tuple[Encoder, Encoder | None]:
    if in_service is None:
        return read_encoder(EXPORT), None
    new, now = seconds_of([EXPORT, in_service])
    return read_encoder(EXPORT, new), read_encoder(in_service, now)


@task(task_run_name="promote", retry_condition_fn=helps, persist_result=False)
def promote(message: str, remote: str | None) -> Version:
    """Register the committed export as a version, put it in service, and publish the tags where asked to.

    Raises:
        CommandError: the version cannot be had back from DVC, or the git remote refuses.
    """
    log = get_run_logger()
    registry, candidate = read_registry(), export_md5("HEAD")
    version = registry.made_by(candidate) if candidate else None
    if version is None:
        version = Version(registry.next_name(_kind_of_change(registry)), head())
        register(version.name, version.commit, message)
        log.info(f"Registered {version.tag}.")
    if registry.in_service != version:
        service.place(version, log.info)  # before the tags say so, because a disk may be full
        tag = assign(version, message)
        log.info(f"{version.name} is in service by the tag {tag}.")
    service.reconcile(log.info)
    if remote is not None:
        publish(remote, tags_of(version))
    return version


@task(task_run_name="publish", retry_condition_fn=helps, persist_result=False)
def publish_in_service(remote: str) -> None:
    """Push what an earlier run could not, when the git remote did not answer; otherwise this does nothing.

    Raises:
        CommandError: the git remote does not answer or refuses.
    """
    version = read_registry().in_service
    if version is not None:
        publish(remote, tags_of(version))


def tags_of(version: Version) -> list[str]:
    """The tags that a consumer needs to see that this version is in service."""
    assigned = git("tag", "--list", "encoder#production#*", "--points-at", version.commit).split()
    return [version.tag, *assigned]


def has_remote() -> bool:
    """Whether this project has a default DVC remote."""
    try:
        return "No default remote" not in output_of(["dvc", "remote", "default"])
    except CommandError:
        return False


def decide(
    rules: GateParams, *, message: str, forced: bool, git_remote: str | None, retries: Sequence[float]
) -> Outcome:
    """Judge, then put in service or refuse; the decision goes into the journal."""
    candidate = export_md5()
    assert candidate is not None
    registry = read_registry()
    now = registry.in_service
    if now is not None and export_md5(now.commit) == candidate:
        said = f"The encoder came out as it was, byte for byte; {now.name} stays in service."
        return Outcome("unchanged", said, now.name)
    if (withdrawn := registry.withdrawn(candidate)) and not forced:
        return Outcome("refused", stays_out(withdrawn, registry))
    verdict = gate(now, rules, forced)
    if not verdict.passed and not forced:
        service.record("refused", candidate, rules.model_dump(), reason=verdict.reason)
        kept = f"{now.name} stays in service" if now else "none is in service"
        return Outcome("refused", f"The new encoder was refused, {kept}: {verdict.reason}.")
    if has_remote():
        patient(push, retries)()
    version = patient(promote, retries)(message, git_remote)
    service.record("promoted", candidate, rules.model_dump(), version=version.name, reason=verdict.reason)
    replaced = f" in place of {now.name}" if now and now != version else ""
    return Outcome("promoted", f"{version.name} is in service{replaced}: {verdict.reason}.", version.name)


def _kind_of_change(registry: Registry) -> str:
    """Major where consumers must change something, minor for other weights, patch for the same ones."""
    before = registry.in_service
    folder = service.SERVICE / before.name if before else None
    if folder is None or not folder.is_dir():
        return "minor"
    new, old = read_encoder(EXPORT).about, read_encoder(folder).about
    if any(new.get(key) != old.get(key) for key in ("format", "dim", "input", "output", "normalized")):
        return "major"
    return "minor" if new.get("weights_sha256") != old.get("weights_sha256") else "patch"
