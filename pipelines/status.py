"""Where things stand before a run, without Prefect: whether there is anything to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infocl.config import GateParams
from infocl.config.file import PARAMS_FILE, load_params, parse_params, read_yaml
from infocl.runtime.errors import InfoCLError, UserError
from infocl.runtime.lock import BusyError
from infocl.runtime.mappings import changed_values
from pipelines import service
from pipelines.changes import Plan, find_changes
from pipelines.registry import Registry, Version, export_md5, read_registry

REFUSED = "Refused"  # the state of a run whose encoder the gate refused; its type is that of failures


@dataclass(frozen=True)
class Outcome:
    """How a run ended: promoted, refused or unchanged; `message` is one sentence."""

    kind: str
    message: str
    version: str | None = None


def rules_in_force(overrides: Mapping[str, Any] | None) -> GateParams:
    """The section `gate` of params.yaml with a flow's own thresholds put in.

    Raises:
        UserError: params.yaml or a threshold is not valid.
    """
    if not overrides:
        return load_params().gate
    raw = read_yaml(PARAMS_FILE)
    raw["gate"] = {**raw.get("gate", {}), **overrides}
    return parse_params(raw, "the flow's parameters").gate


def require_unchanged(before: Mapping[str, Any]) -> None:
    """Refuse to go on when params.yaml says something else than when the run began.

    Raises:
        UserError: so it does; the message names what changed.
    """
    if edited := sorted(changed_values(before, read_yaml(PARAMS_FILE))):
        raise UserError(
            f"{PARAMS_FILE} was edited while this run was at work ({'; '.join(edited)}), so that nothing was "
            "committed or put in service; run again to train with the new values"
        )


def nothing_to_do(plan: Plan, rules: GateParams, *, forced: bool) -> Outcome | None:
    """The outcome of a run that finds nothing changed and its last result judged; None when there is work.

    `forced` means that the last result is wanted in service, also where it was refused or rolled back.
    """
    candidate = export_md5()
    if not plan.empty or candidate is None:
        return None
    registry = read_registry()
    now = registry.in_service
    if now is not None and export_md5(now.commit) == candidate:
        return Outcome("unchanged", f"Nothing changed; {now.name} is in service.", now.name)
    if forced:
        return None
    if withdrawn := registry.withdrawn(candidate):
        return Outcome("unchanged", f"Nothing changed; {stays_out(withdrawn, registry)}")
    before = service.decided(candidate, rules.model_dump())
    if before is None:
        return None
    where = f"{now.name} is in service" if now else "none is in service"
    message = f"Nothing changed; {where}, and the last result was {before['decision']} on {before['at']}."
    return Outcome("unchanged", message)


def stays_out(withdrawn: Version, registry: Registry) -> str:
    """Why a version that was rolled back is not put in service again."""
    now = registry.in_service.name if registry.in_service else "none"
    return (
        f"{now} is in service; {withdrawn.name} was rolled back and stays out, unless it is forced or named "
        f"(infocl rollback --to {withdrawn.name})."
    )


def idle() -> bool:
    """Whether a run would find nothing to do; one that would fail has something to say.

    Raises:
        BusyError: another `dvc` is at work, and nothing can be told before it ends.
    """
    try:
        return nothing_to_do(find_changes(), rules_in_force(None), forced=False) is not None
    except BusyError:
        raise
    except InfoCLError:
        return False
