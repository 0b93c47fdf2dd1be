"""`infocl promote`: a version that waits in staging goes in service, by a person or a rule after a time."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from infocl.runtime.errors import UserError
from pipelines import notices, service
from pipelines.registry import NAME, STAGING, Registry, Version, draft, read_registry
from pipelines.remote import require_names, take_tags
from pipelines.repository import git, require_repository
from pipelines.rollback import assign

HOUR = 3600.0


@flow(name="promote", persist_result=False)
def promote(
    after_hours: float = 24.0,
    git_remote: str | None = None,
    notify: str | None = None,
    wait_minutes: float = 60.0,
) -> State[Any]:
    """Put the version that waits in staging in service, once it has waited long enough unrejected.

    Args:
        after_hours: how long a person can look at it first.
        git_remote: where the tag is pushed; none: it stays here.
        notify: a notification block that is told of the promotion, such as slack-webhook/ops.
        wait_minutes: how long to wait for another who changes what is in service.
    """
    require_repository()
    waiting = read_registry().staged
    if waiting is None:
        return Completed(name="Nothing waits", message="No version waits in staging.")
    waited = (time.time() - staged_at(waiting)) / HOUR
    if waited < after_hours:
        message = f"{waiting.name} waits in staging for {waited:.1f} of {after_hours:g} hours."
        return Completed(name="Too early", message=message)
    by = f"the rule after {after_hours:g} hours"
    approve(waiting.name, git_remote, get_run_logger().info, 60 * wait_minutes, by=by)
    message = f"{waiting.name} is in service, by {by}."
    notices.notify(notify, "InfoCL: new encoder in service", message)
    return Completed(name="Promoted", message=message)


def approve(
    name: str | None,
    git_remote: str | None,
    log: Callable[[str], object],
    wait_seconds: float,
    *,
    reject: bool = False,
    by: str | None = None,
) -> Version:
    """Put the version that waits in staging in service, or take it out of staging.

    Args:
        name: of the version such as v1.2.0; None: whichever waits.
        git_remote: where the tag is pushed; None: it stays here.
        log: takes lines for people.
        wait_seconds: how long to wait for another who changes what is in service.
        reject: take it out of staging; the one in service stays.
        by: who decided, for the journal; None: whoever runs this.

    Raises:
        UserError: no such version waits in staging, or the git remote's name is not valid.
        CommandError: its files are neither here nor on the DVC remote, or the git remote refuses or does not
            answer; the one in service stays.
    """
    require_repository()
    require_names(None, git_remote)
    by = by or getpass.getuser()
    with service.alone(wait_seconds):
        if git_remote is not None:
            take_tags(git_remote)
        registry = read_registry()
        version, now = _waiting(registry, name), registry.in_service
        decision = "rejected" if reject else "promoted"
        tags = draft(version, f"{decision} by {by}", *([f"{STAGING}!"] if reject else []))
        assign(version, tags, git_remote, log, decision, by=by)
    kept = f"{now.name} stays in service" if now else "none is in service"
    replaced = f" in place of {now.name}" if now else ""
    log(f"{version.name} {f'was rejected, {kept}' if reject else f'is in service{replaced}'}.")
    return version


def staged_at(version: Version) -> float:
    """When a version was put in staging, in seconds since 1970."""
    listed = ("tag", "--list", "--points-at", version.commit, "--format=%(creatordate:unix)")
    tags = git(*listed, f"{NAME}#{STAGING}#*")
    return max(map(float, tags.split()))


def _waiting(registry: Registry, name: str | None) -> Version:
    waiting = registry.staged
    if waiting is None:
        raise UserError("no version waits in staging; infocl retrain --staging puts the next one there")
    if name is not None and name.lstrip("v") != waiting.name.lstrip("v"):
        raise UserError(
            f"{name} does not wait in staging, {waiting.name} does; infocl rollback --to puts an older one "
            "in service"
        )
    return waiting
