"""params.yaml must say the same during a whole run, because DVC records it after each stage has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infocl.config import Params
from infocl.config.file import PARAMS_FILE, load_params, read_yaml
from infocl.runtime.errors import UserError
from infocl.runtime.mappings import changed_values

DVC_LOCK = Path("dvc.lock")


def require_checked() -> None:
    """Refuse params other than those that the stage check of this run, or of the last one, accepted.

    Raises:
        UserError: params.yaml was edited since.
    """
    stages = read_yaml(DVC_LOCK).get("stages", {}) if DVC_LOCK.exists() else {}
    checked = stages.get("check", {}).get("params", {}).get(PARAMS_FILE.name)
    if checked is not None:
        _compare(checked, read_yaml(PARAMS_FILE), "after the stage check of this run")


def require_unchanged(params: Params) -> None:
    """Refuse to finish when params.yaml no longer holds the params that the stage was started with.

    Raises:
        UserError: it was edited, or is not valid any more.
    """
    _compare(params.model_dump(), load_params().model_dump(), "while this stage ran")


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], when: str) -> None:
    changed = list(changed_values(before, now))
    if not changed:
        return
    more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    raise UserError(
        f"{PARAMS_FILE} was edited {when}: {changed[0]}{more}; "
        "set it back to continue where this run stopped, or keep it; then run dvc repro or dvc exp run again"
    )
