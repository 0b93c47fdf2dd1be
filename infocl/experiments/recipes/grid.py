"""Grids: whole tables of recipes, each row one DVC experiment for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infocl.config.file import parse_params, read_yaml
from infocl.experiments.recipes.compose import CONF, EMBEDDED, checked, find_recipe, names_of, overrides
from infocl.pretrain.objectives.params import OBJECTIVES
from infocl.pretrain.regularizers.params import REGULARIZERS
from infocl.runtime.errors import UserError
from infocl.runtime.mappings import merged
from infocl.runtime.text import near


def grids() -> dict[str, list[str]]:
    """Every grid and its recipes: the published tables, and each objective with each regulariser."""
    published = read_yaml(CONF / "grids.yaml")
    every = {EMBEDDED: {objective: list(REGULARIZERS) for objective in OBJECTIVES}}
    return {name: names_of(table) for name, table in published.items()} | {EMBEDDED: names_of(every)}


def parse_seeds(text: str) -> list[int]:
    """Seeds from text such as "0,1,2".

    Raises:
        UserError: they are no whole numbers, or one is given twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UserError(f"--seeds is {text!r}, but must be whole numbers such as 0,1,2")
    seeds = [int(part) for part in parts]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text} names a seed twice; name each once")
    return seeds


def grid_commands(name: str, seeds: Sequence[int], raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """The arguments of `dvc` that queue a grid, for each recipe.

    All are checked against `raw`, the content of params.yaml, before the first is returned, so that
    a grid is queued whole or not at all.

    Raises:
        UserError: there is no such grid, or a recipe or a seed does not fit params.yaml.
    """
    known = grids()
    if name not in known:
        raise UserError(
            f"there is no grid {name!r}; " + near(name, list(known), f"use one of {', '.join(known)}", 3)
        )
    recipes = [find_recipe(recipe) for recipe in known[name]]
    for recipe in recipes:
        checked(recipe, raw)
    for seed in seeds:
        parse_params(merged(raw, {"seed": seed}), "--seeds")
    sweep = f"seed={','.join(map(str, seeds))}"
    return {recipe.name: ["exp", "run", "--queue", *_set([*overrides(recipe), sweep])] for recipe in recipes}


def _set(words: Sequence[str]) -> list[str]:
    return [argument for word in words for argument in ("-S", word)]
