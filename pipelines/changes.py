"""What changed since the last reproduction, as DVC knows it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.stage import PipelineStage, Stage

from infocl.config.file import PARAMS_FILE, load_params
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.lock import BusyError
from infocl.runtime.mappings import ABSENT, changed_values
from infocl.runtime.text import named

CHECK = "check"  # the stage whose output never changes, so that it is a reason for nothing
MOST = 6  # reasons, or files of one reason, that are listed


@dataclass(frozen=True)
class Plan:
    """What a reproduction would do.

    Attributes:
        stages: all stages of `dvc.yaml` that may run, in the order in which they do.
        reasons: why a stage changed by itself, for each that did; the others follow from those before them.
        data: `.dvc` files whose data changed in this workspace.
    """

    stages: list[str]
    reasons: dict[str, list[str]]
    data: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.stages and not self.data

    def lines(self) -> list[str]:
        """A line for each stage, such as "pretrain: reg.weight 1.0 -> 0.1"."""
        data = [f"{file}: its data changed" for file in self.data]
        return data + [f"{stage}: {self.why(stage)}" for stage in self.stages]

    def why(self, stage: str) -> str:
        """Why a stage may run."""
        return named(self.reasons.get(stage, ["what it reads may change"]), MOST, "; ")

    def headline(self) -> str:
        """The first reasons in one line, for names and commits."""
        if self.data:
            return self.lines()[0]
        first = next(iter(self.reasons), None)
        return "nothing changed" if first is None else f"{first}: {self.why(first)}"


def find_changes() -> Plan:
    """Compare params, data, code and results of this workspace with `dvc.lock`.

    Raises:
        UserError: params.yaml or dvc.yaml is not valid; the message names the fix.
        BusyError: another `dvc` keeps DVC's own lock.
    """
    load_params()
    try:
        with Repo(".") as repo:
            status = repo.status()
            graph = repo.index.graph
            own = {stage.addressing: stage for stage in repo.index.stages if _of_the_pipeline(stage)}
            tracked = [stage.addressing for stage in graph if stage.addressing in status and _is_data(stage)]
            return _plan(status, graph, own, tracked)
    except LockError:
        raise BusyError("this workspace is in use by another dvc; wait until it ends, or cancel it") from None
    except DvcException as error:
        raise UserError(f"DVC cannot read this project ({one_line(error)}); correct it") from None


def _plan(
    status: Mapping[str, Any], graph: networkx.DiGraph, own: Mapping[str, Stage], data: list[str]
) -> Plan:
    concerned = {name for name in own if name in status}
    for name in concerned - {CHECK}:
        concerned |= {stage.addressing for stage in networkx.ancestors(graph, own[name])}
    if data:
        concerned |= set(own)
    place = {name: index for index, name in enumerate(own)}
    order = networkx.lexicographical_topological_sort(
        graph.reverse(), key=lambda stage: place.get(stage.addressing, len(place))
    )
    stages = [stage.addressing for stage in order if stage.addressing in concerned & set(own)]
    return Plan(stages, _own_reasons(stages, own, status), sorted(data))


def _own_reasons(
    stages: list[str], own: Mapping[str, Stage], status: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Each reason once, at the first stage that names it; those that read all of params.yaml come last."""
    reported: set[str] = set()
    reasons: dict[str, list[str]] = {}
    changed = [name for name in stages if name in status]
    for name in sorted(changed, key=lambda name: _reads_all_params(own[name])):
        new = [reason for reason in _reasons(own[name], status[name]) if reason not in reported]
        reported |= set(new)
        if new:
            reasons[name] = new
    return {name: reasons[name] for name in stages if name in reasons}


def _reads_all_params(stage: Stage) -> bool:
    return any(isinstance(dep, ParamsDependency) and not dep.params for dep in stage.deps)


def _of_the_pipeline(stage: Stage) -> bool:
    return isinstance(stage, PipelineStage) and Path(stage.path).resolve() == Path("dvc.yaml").resolve()


def _is_data(stage: Stage) -> bool:
    return not isinstance(stage, PipelineStage)


def _reasons(stage: Stage, status: list[Any]) -> Iterator[str]:
    for entry in status:
        if entry == "changed command":
            yield "its command"
            continue
        deps, outs = entry.get("changed deps", {}), entry.get("changed outs", {})
        yield from _params(stage, deps.get(PARAMS_FILE.name, {}))
        yield from _files(deps)
        if outs and stage.addressing != CHECK:
            yield f"{named(list(outs), MOST)} {'is' if len(outs) == 1 else 'are'} missing or changed"


def _params(stage: Stage, changed: Any) -> Iterator[str]:
    dependency = next((dep for dep in stage.deps if isinstance(dep, ParamsDependency)), None)
    if not isinstance(changed, Mapping) or dependency is None:
        return
    before, now = dependency.hash_info.value if dependency.hash_info else None, dependency.read_params()
    for key in changed:
        yield from sorted(changed_values({key: (before or {}).get(key, ABSENT)}, {key: now.get(key, ABSENT)}))


def _files(deps: Mapping[str, Any]) -> Iterator[str]:
    files = [name for name in deps if name != PARAMS_FILE.name]
    code = [name for name in files if name.startswith("infocl/")]
    if code:
        yield f"code {named(code, MOST)}"
    data = [name for name in files if name not in code and deps[name] != "deleted"]
    if data:
        yield f"data {named(data, MOST)}"
