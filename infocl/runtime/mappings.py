"""Nested mappings, such as params.yaml, by dotted keys."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "absent"  # stands for a value that is not there


def flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested mapping."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def changed_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two nested mappings, in their order, such as "reg.weight 1.0 -> 0.1"."""
    old, new = dict(flat(before)), dict(flat(now))
    for key in old | new:
        if old.get(key, ABSENT) != new.get(key, ABSENT):
            yield f"{key} {old.get(key, ABSENT)} -> {new.get(key, ABSENT)}"


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `changes` put in; neither is modified."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        below: Any = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        result[key] = merged(below, value) if both else copy.deepcopy(value)
    return result
