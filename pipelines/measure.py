"""What a new encoder is held against beside the one in service: the best so far, and untrained ones."""

from __future__ import annotations

import json
from collections.abc import Iterator

from infocl.results.comparison import read_compare
from infocl.runtime.paths import DETAILS
from pipelines import service
from pipelines.commands import CommandError, Log
from pipelines.differences import ExportedEncoder, common_targets, is_paired, read_encoder
from pipelines.gate import Reference
from pipelines.registry import Registry, Version
from pipelines.repository import git


def best_so_far(registry: Registry, new: ExportedEncoder, now: ExportedEncoder, log: Log) -> Reference | None:
    """The version of highest mean accuracy among those that were in service, where that is not `now`'s.

    Small losses, each within its margin, would otherwise add up from version to version. It must have been
    judged on the same test images as the new one; versions that were rolled back do not count, nor those
    before one that a person put in service against the gate.
    """
    names = [name for name in common_targets(new, now) if new.tasks[name].kind == "class"]
    better = [(mean, version) for version, mean in _means(registry, names) if mean > now.mean(names)]
    for _, version in sorted(better, key=lambda pair: -pair[0]):
        try:
            with service.alone():
                encoder = read_encoder(service.place(version, log))
        except CommandError as error:
            log(f"{version.name} was better on the targets, but its files cannot be had ({error}).")
            continue
        if all(is_paired(new, encoder, name) for name in names):
            return Reference(version.name, encoder)
    return None


def _means(registry: Registry, names: list[str]) -> Iterator[tuple[Version, float]]:
    """Rivals and their mean accuracies as the commits that made them have them, where they have all of it."""
    for version in registry.rivals():
        try:
            rows = json.loads(git("show", f"{version.commit}:metrics/transfer.json"))
            yield version, sum(float(rows[name]["accuracy"]) for name in names) / len(names)
        except (CommandError, ValueError, KeyError, TypeError, ZeroDivisionError):
            continue


def untrained_accuracies() -> dict[str, float]:
    """Mean accuracy of untrained encoders by task, the source being `source`; empty where none was judged.

    Raises:
        UserError: what the stage compare wrote is damaged.
    """
    if not (DETAILS / "compare.json").exists():
        return {}
    tasks = read_compare().tasks
    return {name: task.untrained for name, task in tasks.items() if task.untrained is not None}
