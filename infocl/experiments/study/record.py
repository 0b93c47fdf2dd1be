"""A study as data: every run with its figures, to be shown without DVC, passed on, and added to."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infocl.experiments.overrides import overridden
from infocl.experiments.study.plan import CONTROL, Method, Planned
from infocl.experiments.table.experiments import Experiment
from infocl.experiments.table.settings import differences, method_of, setting_of
from infocl.results.comparison import SOURCE
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, write_text

HINT = "infocl study --show --save FILE writes such a file"
BASELINES = ("raw", "untrained", "imported")
Accuracies = dict[str, Annotated[float, Field(ge=0, le=1)]]  # by task


class Place(BaseModel):
    """A place in the study; `weight` is None where `reg.weight` has no effect."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    objective: str
    regularizer: str
    weight: float | None
    seed: int
    knob: str = ""

    @property
    def method(self) -> Method:
        """What is compared."""
        return Method(self.objective, self.regularizer, self.weight, self.knob)

    @property
    def key(self) -> tuple[Method, int]:
        """The method and the seed."""
        return self.method, self.seed


class Run(Place):
    """What was measured at a place, as shares in 0..1; baselines stand beside the objective alone."""

    accuracy: Accuracies
    raw: Accuracies = Field(default_factory=dict)
    untrained: Accuracies = Field(default_factory=dict)
    imported: Accuracies = Field(default_factory=dict)


class Study(BaseModel):
    """All runs of a study.

    Attributes:
        commands: what was called, so that it can be called again.
        new_data: whether each seed drew the embedded source anew.
        params: what all runs share; objective, regulariser, weight, knob and seed are the runs' own.
        missing: places that are planned and not finished.
        runs: what is finished.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal[1] = 1
    commands: list[str]
    new_data: bool
    params: dict[str, Any]
    missing: list[Place]
    runs: list[Run]


def gather(
    planned: Sequence[Planned],
    finished: Mapping[str, Experiment],
    params: Mapping[str, Any],
    command: str,
    *,
    new_data: bool,
) -> Study:
    """The study that these experiments are.

    Args:
        planned: all experiments of the study.
        finished: experiments by name, others among them.
        params: the content of params.yaml under the study's overrides.
        command: what was called.
        new_data: as in `plan`.
    """
    missing, runs = [], []
    for one in planned:
        place = one.method._asdict() | {"seed": one.seed}
        if one.name in finished:
            runs.append(_run(place, finished[one.name]))
        else:
            missing.append(Place(**place))
    shared = _shared(params, new_data=new_data)
    return Study(commands=[command], new_data=new_data, params=shared, missing=missing, runs=runs)


def _run(place: Mapping[str, Any], found: Experiment) -> Run:
    source = {} if found.source is None else {SOURCE: found.source}
    beside = found.compared if place["regularizer"] == CONTROL else {}
    baselines = {
        kind: {task: row[kind] for task, row in beside.items() if row.get(kind) is not None}
        for kind in BASELINES
    }
    return Run.model_validate({**place, "accuracy": source | found.targets, **baselines})


def _shared(params: Mapping[str, Any], *, new_data: bool) -> dict[str, Any]:
    shared = copy.deepcopy(dict(params))
    for section, key in (("objective", "name"), ("reg", "name"), ("reg", "weight")):
        shared[section].pop(key)
    shared.pop("seed")
    if new_data:
        shared["data"][shared["data"]["name"]].pop("seed")
    return shared


def save_study(study: Study, file: Path) -> None:
    """Write a study as JSON, a line for each run."""
    about = study.model_dump(mode="json", exclude={"missing", "runs"})
    lists: dict[str, Sequence[Place]] = {"missing": study.missing, "runs": study.runs}
    parts = [json.dumps(about, indent=1).removesuffix("\n}")]
    for name, places in lists.items():
        lines = [
            f"\n  {json.dumps(place.model_dump(mode='json', exclude_defaults=True))}" for place in places
        ]
        parts.append(f"\n {json.dumps(name)}: [{','.join(lines)}]")
    write_text(file, ",".join(parts) + "\n}\n")


def load_studies(files: Sequence[Path]) -> Study:
    """The study of one file, or that of several with the same settings.

    Raises:
        UserError: a file is missing or holds no study, or two do not belong together.
    """
    studies = [_load(file) for file in files]
    first = studies[0]
    runs: dict[tuple[Method, int], Run] = {}
    for study, file in zip(studies, files, strict=True):
        _require_alike(first, study, f"{file} and {files[0]}")
        for run in study.runs:
            if runs.setdefault(run.key, run) != run:
                raise UserError(
                    f"{file} has other figures of {run.method.title}, seed {run.seed}; leave one out"
                )
    missing = {place.key: place for study in studies for place in study.missing if place.key not in runs}
    commands = list(dict.fromkeys(command for study in studies for command in study.commands))
    return first.model_copy(
        update={"commands": commands, "missing": list(missing.values()), "runs": list(runs.values())}
    )


def _load(file: Path) -> Study:
    value = read_json(file, HINT)
    try:
        study = Study.model_validate(value)
        _settings(study)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file} holds no study ({where}: {first['msg']}); {HINT}") from None
    except (KeyError, TypeError) as error:
        raise UserError(f"{file} holds no study (params: {type(error).__name__} {error}); {HINT}") from None
    return study


def _settings(study: Study) -> tuple[str, dict[Method, str]]:
    """What all its runs share, and the knobs of each method, in canonical forms."""
    methods = {place.method for place in (*study.runs, *study.missing)}
    return setting_of(study.params), {method: _knobs(study.params, method) for method in methods}


def _knobs(params: Mapping[str, Any], method: Method) -> str:
    chosen = overridden(params, method.settings)
    return " ".join(method_of(chosen, section) for section in ("objective", "reg"))


def _require_alike(one: Study, other: Study, names: str) -> None:
    (shared, knobs), (others, others_knobs) = _settings(one), _settings(other)
    if shared != others:
        unlike = ", ".join(differences([shared, others])[0])
        raise UserError(f"{names} are studies with other settings ({unlike}); show each by itself")
    if one.new_data != other.new_data:
        raise UserError(f"{names}: only one drew new data by each seed (--new-data); show each by itself")
    for method in knobs.keys() & others_knobs.keys():
        if knobs[method] != others_knobs[method]:
            raise UserError(f"{names} have other knobs of {method.title}; show each by itself")
