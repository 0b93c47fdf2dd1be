"""What a run was trained and judged with: only runs that share it are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from infocl.config import train
from infocl.config.train import optimizer_in_force
from infocl.runtime.mappings import flat

# Of no influence on the figures: where it ran, how often it was saved, what it was compared with, exports.
NEUTRAL = ("seed", "compare", "audit", "export", "gate", *(f"train.{knob}" for knob in train.NEUTRAL))


def setting_of(params: Mapping[str, Any]) -> str:
    """Everything but objective, regulariser and seed, in a canonical form; equal if and only if alike.

    Knobs that only another optimiser reads are left out.
    """
    rest = {key: value for key, value in params.items() if key not in ("objective", "reg")}
    rest["train"] = rest["train"] | {"optimizer": optimizer_in_force(rest["train"]["optimizer"])}
    return canonical({key: value for key, value in flat(rest) if not _neutral(key)})


def method_of(params: Mapping[str, Any], section: str) -> str:
    """Name and knobs of the chosen objective or regulariser, with its weight, in a canonical form."""
    chosen = params[section]
    knobs = dict(flat({chosen["name"]: chosen.get(chosen["name"]) or {}}, f"{section}."))
    if section == "reg" and chosen["name"] not in ("none", "noise"):
        knobs["reg.weight"] = chosen["weight"]
    return canonical({"name": chosen["name"]} | knobs)


def canonical(values: Mapping[str, Any]) -> str:
    """JSON with sorted keys, in which 1 and 1.0 are the same number."""
    return json.dumps({key: _plain(value) for key, value in values.items()}, sort_keys=True)


def differences(forms: list[str]) -> list[dict[str, str]]:
    """For each of several canonical forms, the values of the keys on which they are not all alike."""
    read = [json.loads(form) for form in forms]
    keys = sorted({key for form in read for key in form})
    unlike = [key for key in keys if len({json.dumps(form.get(key)) for form in read}) > 1]
    return [{key: _shown(form[key]) if key in form else "absent" for key in unlike} for form in read]


def _neutral(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in NEUTRAL)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
