"""Recipes: every one valid, safe in a shell, and read by DVC as it was meant."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

from infocl.config.file import read_yaml
from infocl.experiments.recipes.compose import CONF, checked, find_recipe, near, overrides, recipe_names
from infocl.experiments.recipes.grid import grids
from infocl.pretrain.objectives import OBJECTIVES
from infocl.pretrain.regularizers import REGULARIZERS
from infocl.runtime.errors import UserError
from infocl.runtime.mappings import flat, merged
from tests.workspace import ROOT, SHIPPED

NAMES = recipe_names()


def all_recipes():
    return {name: find_recipe(name) for name in NAMES}


def test_every_recipe_is_valid():
    for recipe in all_recipes().values():
        checked(recipe, SHIPPED)
    assert {"cifar10-simclr-none", "cifar10-simclr-lbe", "stl10-simclr-rc", "imagenet-simclr-lbe"} <= {*NAMES}


def test_every_embedded_pair_is_a_recipe():
    pairs = {f"embedded-{objective}-{reg}" for objective in OBJECTIVES for reg in REGULARIZERS}
    assert {name for name in NAMES if name.startswith("embedded-")} == pairs


def test_every_config_is_used_by_some_recipe():
    """A special case under a misspelt name would be left out without a word."""
    places = {"data_reg": (0, 2), "objective_reg": (1, 2), "data_objective": (0, 1)}
    for group in (*places, "data_objective_reg"):
        for path in (CONF / group).glob("*.yaml"):
            parts = path.stem.split("-")
            listed = [name.split("-") for name in NAMES]
            kept = places.get(group, (0, 1, 2))
            assert parts in [[names[place] for place in kept] for names in listed], path
    for group, place in (("data", 0), ("objective", 1), ("reg", 2)):
        used = {name.split("-")[place] for name in NAMES}
        assert {path.stem for path in (CONF / group).glob("*.yaml")} <= used


@pytest.mark.parametrize(
    ("name", "values"),
    [  # the published coefficients, typed anew
        ("cifar10-simclr-none", {"reg.weight": 0, "objective.simclr.temperature": 0.5}),
        ("cifar10-simclr-rc", {"reg.weight": 1, "train.batch_size": 256, "encoder.stem": "cifar"}),
        ("cifar10-simclr-lbe", {"reg.weight": 1, "reg.lbe.sigma": 0.1, "data.image_size": 32}),
        ("cifar10-simclr-ip", {"reg.weight": 5e-4, "reg.ip.distance": "mean_squared"}),
        ("embedded-simclr-ip", {"reg.weight": 1, "reg.ip.distance": "relative"}),
        ("embedded-simclr-mib", {"reg.weight": 1e-4}),
        ("embedded-simclr-rc", {"reg.weight": 1, "reg.rc.decoder": "light"}),
        ("embedded-supervised-lbe", {"objective.supervised.views": 2, "reg.lbe.rho": "auto"}),
        ("embedded-barlow_twins-none", {"objective.barlow_twins.correlation": "plain"}),
        ("cifar10-byol-lbe", {"reg.weight": 0.1, "reg.lbe.level_weights": [0.25, 0.5, 1]}),
        ("stl10-simclr-lbe", {"reg.weight": 1, "reg.lbe.level_weights": [0.25, 0.5, 1]}),
        ("cifar10-byol-rc", {"reg.weight": 0.1, "train.batch_size": 128}),
        ("cifar10-barlow_twins-lbe", {"reg.weight": 1, "train.batch_size": 128}),
        ("cifar10-supervised-none", {"views.brightness": 0.4, "views.hue": 0.1, "views.jitter_p": 0.8}),
        ("cifar10-supervised-rc", {"reg.weight": 1e-3}),
        ("cifar10-supervised-lbe", {"reg.weight": 0.1, "reg.lbe.sigma": 0.01}),
        ("cifar100-supervised-rc", {"reg.weight": 1e-2, "data.name": "cifar100", "views.contrast": 0.4}),
        ("cifar100-supervised-lbe", {"reg.weight": 1, "reg.lbe.sigma": 0.01}),
        ("stl10-simclr-rc", {"data.image_size": 64, "train.optimizer.lr": 3e-4, "train.epochs": 200}),
        ("stl10-byol-none", {"train.batch_size": 256, "train.schedule.name": "constant"}),
        ("cifar10-barlow_twins-mixed", {"reg.weight": 4.0}),
        ("stl10-barlow_twins-mixed", {"reg.weight": 2.0}),
        ("imagenet-simclr-rc", {"reg.weight": 0.1, "encoder.arch": "resnet50", "train.batch_size": 1024}),
        ("imagenet-simclr-lbe", {"reg.weight": 1, "reg.lbe.level_weights": [0, 0, 1]}),
        (
            "imagenet-simclr-none",
            {"train.optimizer.lr": 0.3 * 1024 / 256, "train.optimizer.weight_decay": 1e-6},
        ),
        (
            "imagenet-simclr-none",
            {"train.optimizer.name": "lars", "train.optimizer.trust_coefficient": 1e-3},
        ),
    ],
)
def test_published_coefficients(name, values):
    settings = dict(flat(all_recipes()[name].settings))
    assert {key: settings[key] for key in values} == values


def covering():
    """Recipes in which each word of any recipe occurs, for DVC reads each word by itself."""
    seen = set()
    for name, recipe in all_recipes().items():
        words = set(overrides(recipe))
        if not words <= seen:
            seen |= words
            yield name, recipe


def test_dvc_reads_back_what_recipes_say(tmp_path):
    path = tmp_path / "params.yaml"
    for name, recipe in covering():
        words = overrides(recipe)
        sweeps = get_hydra_sweeps({"params.yaml": words})
        assert sweeps == [{"params.yaml": words}], "one experiment, no sweep"
        path.write_text((ROOT / "params.yaml").read_text())
        apply_overrides(path, words)
        assert read_yaml(path) == merged(SHIPPED, recipe.settings), name


def test_no_word_changes_in_a_shell(tmp_path):
    words = [word for recipe in all_recipes().values() for word in overrides(recipe)]
    listed = tmp_path / "words"
    listed.write_text(" ".join(words))
    for shell in ("bash", "sh"):
        script = f"printf '%s\\n' $(cat {listed})"
        done = subprocess.run([shell, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == words


def test_a_value_that_needs_quotes_is_refused():
    recipe = all_recipes()["cifar10-simclr-none"]._replace(settings={"data": {"root": "my images"}})
    with pytest.raises(ValueError, match="would need quotes"):
        overrides(recipe)


def test_a_recipe_wins_over_params_and_leaves_the_rest():
    raw = merged(SHIPPED, {"train": {"epochs": 3, "device": "cpu"}, "reg": {"weight": 7.0}})
    params = checked(all_recipes()["cifar10-simclr-rc"], raw)
    assert (params.train.epochs, params.reg.weight, params.train.device) == (200, 1.0, "cpu")
    assert raw["train"]["epochs"] == 3


def test_an_unknown_key_cannot_be_printed():
    recipe = all_recipes()["cifar10-simclr-none"]._replace(settings={"reg": {"wieght": 1.0}})
    with pytest.raises(UserError, match=r"reg.wieght is not a known parameter; did you mean reg.weight\?"):
        checked(recipe, SHIPPED)


def test_unknown_names_are_met_with_near_ones():
    with pytest.raises(UserError, match=r"^there is no recipe 'cifar10-simclr-lb'; did you mean .*-lbe.*\?$"):
        find_recipe("cifar10-simclr-lb")
    with pytest.raises(UserError, match="'zzz'; infocl recipe lists them"):
        find_recipe("zzz")
    assert near("abd", ["abc", "abe", "xyz"], "no", most=2) in (
        "did you mean abe or abc?",
        "did you mean abc or abe?",
    )
    assert near("abd", ["abc", "xyz"], "no") == "did you mean abc?"


def test_every_recipe_says_where_it_comes_from_and_how_it_differs():
    for recipe in all_recipes().values():
        assert recipe.source
        assert recipe.differs
        assert all(isinstance(cell, str) and cell for t in recipe.terms for cell in (t.published, t.source))
        assert sorted(word for term in recipe.terms for word in term.ours) == sorted(overrides(recipe))
        assert all(note.endswith(".") and "\n" not in note for note in recipe.differs)


def test_an_installed_package_has_every_config():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["infocl"]
    shipped = {path for pattern in patterns for path in (ROOT / "infocl").glob(pattern)}
    needed = {path for path in (ROOT / "infocl").rglob("*") if path.suffix in (".yaml", ".html", ".css")}
    assert needed
    assert needed <= shipped


def test_grids_are_the_published_tables():
    known = grids()
    assert len(known["paper/cifar10"]) == 15
    assert len(known["paper/stl10"]) == 9
    assert known["paper/imagenet"] == [f"imagenet-simclr-{reg}" for reg in ("none", "rc", "lbe")]
    assert len(known["embedded"]) == len(OBJECTIVES) * len(REGULARIZERS)
    assert all(name in NAMES for rows in known.values() for name in rows)


def test_the_folder_of_configs_is_in_the_package():
    assert Path(__file__).parents[3] / "infocl/experiments/recipes/conf" == CONF
