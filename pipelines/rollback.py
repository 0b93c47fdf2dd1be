"""`infocl rollback`: put the previous version of the encoder back in service."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prefect import flow, get_run_logger

from infocl.runtime.errors import UserError
from pipelines import service
from pipelines.registry import (
    ROLLED_BACK,
    Registry,
    Version,
    adopt,
    draft,
    export_md5,
    read_registry,
    tags_of,
)
from pipelines.remote import publish, require_names, tags_there, take_tags
from pipelines.repository import require_repository


@flow(name="rollback", persist_result=False)
def rollback(to: str | None = None, git_remote: str | None = None, wait_minutes: float = 60.0) -> str:
    """Put the previous version of the encoder, or a named one, back in service.

    Args:
        to: such as v1.2.0; none: the newest older one that was in service.
        git_remote: where the tag is pushed; none: it stays here.
        wait_minutes: how long to wait for another who changes what is in service; a training is no reason.
    """
    return roll_back(to, git_remote, get_run_logger().info, 60 * wait_minutes).name


def roll_back(
    to: str | None, git_remote: str | None, log: Callable[[str], object], wait_seconds: float
) -> Version:
    """Put a version back in service: the one before, or a named one. Nothing is trained or removed.

    Args:
        to: the version's name such as v1.2.0; None: the newest older one that was in service.
        git_remote: where the tag is pushed; None: it stays here.
        log: takes lines for people.
        wait_seconds: how long to wait for another who changes what is in service.

    Raises:
        UserError: there is no such version, or the git remote's name is not valid.
        CommandError: its files are neither here nor on the DVC remote, or the git remote refuses or does not
            answer; the one in service stays.
    """
    require_repository()
    require_names(None, git_remote)
    with service.alone(wait_seconds):
        service.clean_up(read_registry())
        if git_remote is not None:
            take_tags(git_remote)
        registry = read_registry()
        version = _wanted(registry, to)
        now = registry.in_service
        mark = f"{ROLLED_BACK}{now.name if now else 'none'}"
        assign(version, draft(version, mark), git_remote, log, "rolled back")
    log(f"{version.name} is in service{f' instead of {now.name}' if now else ''}.")
    return version


def assign(
    version: Version,
    tags: Mapping[str, str],
    git_remote: str | None,
    log: Callable[[str], object],
    decision: str,
    **more: str,
) -> None:
    """Make a version's new stage known, on the git remote and then here, and record the decision.

    Raises:
        CommandError: its files are neither here nor on the DVC remote, or the git remote refuses or does not
            answer; nothing is changed then.
    """
    with service.placing(version, log):
        if git_remote is not None:
            # The branch may have moved on there, and is needed only where the version is not known yet.
            known = version.tag in tags_there(git_remote)
            publish(git_remote, tags_of(version) | dict(tags), with_branch=not known)
        adopt(tags)
    service.record(decision, export_md5(version.commit) or "", {}, version=version.name, **more)
    service.reconcile(log)


def _wanted(registry: Registry, to: str | None) -> Version:
    if not registry.versions:
        raise UserError("there is no version to go back to; infocl retrain makes the first one")
    names = ", ".join(version.name for version in registry.versions)
    version = registry.before() if to is None else registry.find(to)
    if version is None and to is None:
        now = registry.in_service
        raise UserError(
            f"no version older than {now.name if now else 'none'} was in service; name one with --to: {names}"
        )
    if version is None:
        raise UserError(f"there is no version {to}; name one of {names}")
    if version == registry.in_service:
        raise UserError(f"{version.name} is in service already")
    return version
