"""Recipes: published settings composed by Hydra from the config groups in `conf/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from infocl.config import Params
from infocl.config.file import parse_params, read_yaml
from infocl.pretrain.objectives.params import OBJECTIVES
from infocl.pretrain.regularizers.params import REGULARIZERS
from infocl.runtime.errors import UserError
from infocl.runtime.mappings import flat, merged
from infocl.runtime.text import near

CONF = Path(__file__).parent / "conf"
EMBEDDED = "embedded"
SECTIONS = list(Params.model_fields)
# What neither a shell's word splitting nor the override grammar of DVC changes without quotes.
PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


class Term(NamedTuple):
    """One part of a published setting, and what the recipe makes of it."""

    name: str
    published: str
    ours: list[str]  # the recipe's `key=value` words that set it
    source: str
    differs: str | None  # a sentence on how it deliberately differs, if it does


class Recipe(NamedTuple):
    """One setting: data x objective x regulariser."""

    data: str
    objective: str
    regularizer: str
    settings: dict[str, Any]  # nested, as in params.yaml
    projector: str
    source: str
    terms: list[Term]

    @property
    def differs(self) -> list[str]:
        """What deliberately differs from the published or released setting."""
        return [term.differs for term in self.terms if term.differs]

    @property
    def name(self) -> str:
        """Such as "cifar10-simclr-lbe"."""
        return f"{self.data}-{self.objective}-{self.regularizer}"


def recipe_names() -> list[str]:
    """The published settings in the order of the published tables, then one for each embedded pair."""
    embedded = [f"{EMBEDDED}-{objective}-{reg}" for objective in OBJECTIVES for reg in REGULARIZERS]
    return names_of(read_yaml(CONF / "published.yaml")) + embedded


def names_of(table: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    """The recipes of a mapping data -> objective -> regularisers."""
    return [
        f"{data}-{objective}-{reg}"
        for data, objectives in table.items()
        for objective, regs in objectives.items()
        for reg in regs
    ]


@cache  # Hydra takes a quarter of a second
def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    names = recipe_names()
    if name not in names:
        raise UserError(f"there is no recipe {name!r}; {near(name, names, 'infocl recipe lists them', 3)}")
    data, objective, regularizer = name.split("-")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(
            "recipe",
            overrides=[
                f"data={data}",
                f"objective={objective}",
                f"reg={regularizer}",
                f"objective.name={objective}",
                f"reg.name={regularizer}",
            ],
        )
    settings: Any = OmegaConf.to_container(composed)
    about = settings.pop("about")
    settings = {section: settings[section] for section in sorted(settings, key=SECTIONS.index)}
    terms = [_term(name, term, settings) for name, term in about["terms"].items()]
    return Recipe(data, objective, regularizer, settings, about["projector"], about["source"], terms)


def _term(name: str, about: Mapping[str, Any], settings: Mapping[str, Any]) -> Term:
    ours = [
        f"{key}={_word(value)}"
        for key, value in flat(settings)
        if any(f"{key}.".startswith(f"{known}.") for known in about["keys"])
    ]
    return Term(name.replace("_", " "), about["published"], ours, about["source"], about.get("differs"))


def overrides(recipe: Recipe) -> list[str]:
    """The recipe as `key=value` words for `dvc exp run -S`; no word needs quotes."""
    return [f"{key}={_word(value)}" for key, value in flat(recipe.settings)]


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(_word(item) for item in value)}]"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not PLAIN.fullmatch(text):
        raise ValueError(f"{text!r} would need quotes in a shell")
    return text


def checked(recipe: Recipe, raw: Mapping[str, Any]) -> Params:
    """The params that `raw`, the content of params.yaml, becomes under the recipe.

    Raises:
        UserError: the recipe does not fit the schema or the rest of params.yaml.
    """
    return parse_params(merged(raw, recipe.settings), f"params.yaml with recipe {recipe.name}")
