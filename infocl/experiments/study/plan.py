"""Which experiments a study takes, each under a name that says what it is of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from infocl.config.titles import has_weight
from infocl.experiments.overrides import overridden, validated
from infocl.experiments.recipes.compose import EMBEDDED, find_recipe
from infocl.experiments.table.build import label
from infocl.experiments.table.settings import method_of, setting_of
from infocl.pretrain.objectives.params import OBJECTIVES
from infocl.pretrain.regularizers.params import REGULARIZERS
from infocl.runtime.errors import UserError
from infocl.runtime.text import near

CONTROL = "none"


class Method(NamedTuple):
    """An objective with a regulariser; the weight is None where `reg.weight` has no effect.

    `knob` is set otherwise than in all other experiments, such as "critic=pixels"; mostly there is none.
    """

    objective: str
    regularizer: str
    weight: float | None
    knob: str = ""

    @property
    def title(self) -> str:
        """Such as "SimCLR + RC (λ = 1)" or "SimCLR + LBE (critic=pixels, λ = 1)"."""
        return label(self.objective, self.regularizer, self.weight, self.knob)

    @property
    def settings(self) -> list[str]:
        """The overrides that make it."""
        settings = [f"objective.name={self.objective}", f"reg.name={self.regularizer}"]
        if self.weight is not None:
            settings.append(f"reg.weight={self.weight!r}")
        return [*settings, f"reg.{self.regularizer}.{self.knob}"] if self.knob else settings


class Planned(NamedTuple):
    """One experiment: what `dvc exp run` is given."""

    name: str
    method: Method
    seed: int
    settings: list[str]  # overrides
    until: str  # the stage that it ends with


def parse_names(text: str) -> list[str]:
    """Names from text such as "noise,rc", each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_weights(text: str) -> list[float]:
    """Weights from text such as "0.1,1".

    Raises:
        UserError: they are no numbers.
    """
    try:
        return list(dict.fromkeys(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise UserError(f"--weights is {text!r}, but must be numbers such as 0.1,1") from None


def plan(
    objectives: Sequence[str],
    regularizers: Sequence[str],
    weights: Sequence[float],
    seeds: Sequence[int],
    overrides: Sequence[str],
    raw: Mapping[str, Any],
    *,
    new_data: bool = False,
) -> list[Planned]:
    """Every combination, the objective without regulariser among them; seed by seed, so that all grow alike.

    Args:
        objectives: names.
        regularizers: names, or with one knob such as "lbe.critic=pixels"; `none` need not be named.
        weights: of each regulariser that has one; none: the weight of its recipe.
        seeds: whole numbers, each once.
        overrides: further settings of all experiments.
        raw: the content of params.yaml.
        new_data: draw the embedded source anew by each seed, images as well as weights.

    Raises:
        UserError: a name is not known, or a combination is not valid.
    """
    terms = [(name, knob) for name, _, knob in (text.partition(".") for text in regularizers)]
    _require(objectives, OBJECTIVES, "objective")
    _require([name for name, _ in terms], REGULARIZERS, "regulariser")
    methods = [
        Method(objective, regularizer, weight, knob)
        for objective in objectives
        for regularizer, knob in dict.fromkeys([(CONTROL, ""), *terms])
        for weight in _weights(objective, regularizer, weights)
    ]
    base = overridden(raw, overrides)
    return [
        _planned(method, seed, [*overrides, *_seeded(base, seed, new_data)], raw)
        for seed in seeds
        for method in methods
    ]


def _require(names: Sequence[str], known: Iterable[str], kind: str) -> None:
    for name in names:
        if name not in known:
            hint = near(name, list(known), f"use some of {', '.join(known)}", 3)
            raise UserError(f"there is no {kind} {name!r}; {hint}")


def _weights(objective: str, regularizer: str, weights: Sequence[float]) -> Sequence[float | None]:
    if not has_weight(regularizer):
        return [None]
    return weights or [find_recipe(f"{EMBEDDED}-{objective}-{regularizer}").settings["reg"]["weight"]]


def _seeded(base: Mapping[str, Any], seed: int, new_data: bool) -> list[str]:
    settings = [f"seed={seed}"]
    if new_data:
        name = base["data"]["name"]
        if "seed" not in (base["data"].get(name) or {}):
            raise UserError(f"--new-data needs a source that is drawn, but data.name is {name}; leave it out")
        settings.append(f"data.{name}.seed={seed}")
    return settings


def _planned(method: Method, seed: int, shared: Sequence[str], raw: Mapping[str, Any]) -> Planned:
    settings = [*shared, *method.settings]
    control = method.regularizer == CONTROL
    if control:  # it is the plain encoder itself; what needs no training is judged beside it
        settings.append("compare.plain=false")
    validated(raw, settings)
    params = overridden(raw, settings)
    about = [setting_of(params), method_of(params, "objective"), method_of(params, "reg"), str(seed)]
    digest = hashlib.sha256("\n".join(about).encode()).hexdigest()
    return Planned(f"study-{digest[:12]}", method, seed, settings, "compare" if control else "transfer")
