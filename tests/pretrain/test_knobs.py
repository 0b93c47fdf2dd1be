"""Every knob that shapes training does: found from the schema, set in the params, seen in the losses."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch
import torch._dynamo.utils
from pydantic import BaseModel

from infocl.config import Params
from infocl.config.train import NEUTRAL, READ_BY
from infocl.prepared.reader import load_prepared
from infocl.pretrain import loop
from infocl.pretrain import training as stage
from infocl.pretrain.parallel.process_group import ALONE
from infocl.runtime.errors import UserError
from infocl.runtime.history import History
from infocl.runtime.paths import PRETRAIN
from tests.pretrain import oracles
from tests.pretrain import oracles_objectives as loops
from tests.pretrain.matrix import build, loss_of
from tests.workspace import raw_params, tiny_params, write_prepared

SECTIONS = ("objective", "reg", "views", "encoder", "train")
STEPS = 3  # a momentum target differs after the first update, and the loss in the one after that
BASE = {
    "data__image_size": 16,
    "encoder__width": 0.125,
    "train__batch_size": 8,
    "train__precision": "fp32",
    "train__schedule__warmup_epochs": 0.0,
    "train__optimizer__weight_decay": 0.1,  # without it adam and adamw are the same
    "objective__barlow_twins__projector_out": 64,
    "objective__vicreg__projector_out": 64,
}


def knobs(model=Params, path=()):
    """Keys and types of all values below the sections."""
    for name, field in model.model_fields.items():
        here = (*path, name)
        if here[0] not in SECTIONS or here in [("train", neutral) for neutral in NEUTRAL]:
            continue
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from knobs(kind, here)
        else:
            yield "__".join(here), kind


KNOBS = dict(knobs())


def value_of(key, raw):
    for name in key.split("__"):
        raw = raw[name]
    return raw


def others(key):
    """Other values of a knob: each choice, or numbers around the shipped one."""
    shipped = value_of(key, raw_params(**BASE))
    if get_origin(KNOBS[key]) is Literal:
        return [choice for choice in get_args(KNOBS[key]) if choice != shipped]
    if isinstance(shipped, list):
        return [[shipped[0] / 2 + 0.25, *shipped[1:]], [*shipped[:-1], shipped[-1] * 0.9]]
    if shipped == "auto":
        return [24, 3.0]
    if isinstance(shipped, int):
        return [shipped * 2, shipped // 2]
    return [shipped * 2, shipped / 2, shipped + 0.25]


def in_use(key):
    """The choices under which a knob is read."""
    section, *rest = key.split("__")
    if key == "reg__rc__decoder":  # the published one exists at few sizes
        return {"reg__name": "rc", "data__image_size": 32}
    if key == "train__optimizer__lr_placement":  # matters where the rate changes, and moves are large
        return {"train__optimizer__name": "lars", "train__optimizer__lr": 1.0}
    if section in ("objective", "reg") and len(rest) == 2:
        return {f"{section}__name": rest[0]}
    if rest[0] == "optimizer" and rest[1] in READ_BY:
        return {"train__optimizer__name": READ_BY[rest[1]][0]}
    return {}


def accepted(changes):
    try:
        return tiny_params(**changes)
    except UserError:
        return None


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """The losses of the first steps with such params, as `params.yaml` would start them."""
    folder = tmp_path_factory.mktemp("knobs")
    prepared = {size: load_prepared(write_prepared(folder / str(size), size=size)) for size in (16, 32)}
    kept = {}

    def run(changes):
        name = repr(sorted(changes.items()))
        if name not in kept:
            params = accepted(changes)
            images = prepared[params.data.image_size]
            run = stage._set_up(params, images, PRETRAIN, ALONE, torch.device("cpu"))
            run.learner.train()
            history = History([])
            for step in range(STEPS):
                loop._step(run, history, step)
                history.close(step=step)
            kept[name] = [row["loss"] for row in history.rows]
        return kept[name]

    return run


@pytest.mark.parametrize("key", KNOBS)
def test_another_value_changes_the_losses(losses, key):
    base = BASE | in_use(key)
    before = losses(base)
    valid = [base | {key: value} for value in others(key) if accepted(base | {key: value})]
    assert valid
    every = get_origin(KNOBS[key]) is Literal
    assert (all if every else any)(losses(changes) != before for changes in valid)


def contrasted(learner):
    """The learner's loss of a fixed batch, and what its objective contrasts: as float64 arrays by name."""
    objective, seen = learner.objective, []
    handle = objective.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    value = loss_of(learner, 0).parts["objective"].item()
    handle.remove()
    features = torch.cat([seen[0].view1.features, seen[0].view2.features])
    with torch.no_grad():
        z = objective.projector(features)
        found = {"z": z}
        if hasattr(objective, "predictor"):
            found["p"] = objective.predictor(z)
        if hasattr(objective, "target_projector"):
            found["t"] = objective.target_projector(torch.cat([seen[0].view1.target, seen[0].view2.target]))
    return value, {
        f"{name}{k + 1}": half.numpy() for name, x in found.items() for k, half in enumerate(x.chunk(2))
    }


def vicreg(given, invariance=25.0, variance=25.0, covariance=1.0):
    z1, z2 = given["z1"], given["z2"]
    hinges = loops.variance_hinge(z1, 1e-4) + loops.variance_hinge(z2, 1e-4)
    penalties = loops.covariance_penalty(z1) + loops.covariance_penalty(z2)
    return invariance * np.mean((z1 - z2) ** 2) + variance * hinges / 2 + covariance * penalties


FORMULAS = {
    "simclr__temperature": lambda g, x: oracles.nt_xent(g["z1"], g["z2"], x),
    "dcl__temperature": lambda g, x: loops.decoupled_nt_xent(g["z1"], g["z2"], x),
    "mocov3__temperature": lambda g, x: loops.moco(g["p1"], g["t2"], x) + loops.moco(g["p2"], g["t1"], x),
    "spectral__radius": lambda g, x: loops.spectral(
        *(x * g[z] / np.linalg.norm(g[z], axis=1, keepdims=True) for z in ("z1", "z2"))
    ),
    "barlow_twins__off_diagonal": lambda g, x: loops.barlow_twins(g["z1"], g["z2"], x, 1e-5),
    "vicreg__invariance": lambda g, x: vicreg(g, invariance=x),
    "vicreg__variance": lambda g, x: vicreg(g, variance=x),
    "vicreg__covariance": lambda g, x: vicreg(g, covariance=x),
}


@pytest.mark.parametrize("value", [0.3, 0.7])
@pytest.mark.parametrize("knob", FORMULAS)
def test_an_objectives_knob_acts_by_its_formula(knob, value):
    objective = knob.split("__")[0]
    changes = {f"objective__{objective}__projector_out": 8, f"objective__{knob}": value}
    loss, given = contrasted(build(objective, "none", **changes)[0])
    assert loss == pytest.approx(FORMULAS[knob](given, value), rel=1e-9)


def test_compiled_means_compiled_with_the_same_losses(losses):
    """`torch.compile` traces the real learner; only its C++ compiler, which takes a minute, is left out."""
    counters = torch._dynamo.utils.counters
    torch._dynamo.reset()
    torch.compiler.set_default_backend("eager")
    try:
        before = counters["stats"]["unique_graphs"]
        compiled = losses(BASE | {"train__compile": True})
        assert counters["stats"]["unique_graphs"] > before
    finally:
        torch.compiler.set_default_backend(None)
    assert compiled == pytest.approx(losses(BASE), rel=1e-4)
