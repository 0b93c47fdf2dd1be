"""Recipes for people: the list, one recipe as overrides, a grid as commands or as queued experiments."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Column, Table

from infocl.config.file import PARAMS_FILE, read_yaml
from infocl.experiments.dvc_command import run_dvc
from infocl.experiments.recipes.compose import (
    CONF,
    EMBEDDED,
    Recipe,
    checked,
    find_recipe,
    names_of,
    overrides,
)
from infocl.experiments.recipes.grid import grid_commands, grids
from infocl.pretrain.objectives.params import OBJECTIVES
from infocl.pretrain.regularizers.params import REGULARIZERS
from infocl.runtime.console import Output
from infocl.runtime.text import counted

LIST_WIDTH = 140  # columns, where the output is no terminal
COLUMNS = ("network", "px", "epochs", "batch", "optimiser", "λ")


def print_recipes() -> None:
    """Print every published setting, what differs from it here, and the grids."""
    recipes = _published()
    notes = list(dict.fromkeys(note for recipe in recipes for note in recipe.differs))
    sources = list(dict.fromkeys(recipe.source for recipe in recipes))
    table = Table(Column("recipe", no_wrap=True), *COLUMNS, "projector", "notes", box=None)
    for recipe in recipes:
        numbers = sorted(notes.index(note) + 1 for note in recipe.differs)
        table.add_row(recipe.name, *_cells(recipe.settings), recipe.projector, " ".join(map(str, numbers)))
    out = Output(LIST_WIDTH)
    out.print(table)
    out.print(
        f"\n{EMBEDDED}-OBJECTIVE-REGULARISER: any pair on the embedded data, otherwise as params.yaml has it"
    )
    out.print(f"  objectives: {', '.join(OBJECTIVES)}\n  regularisers: {', '.join(REGULARIZERS)}")
    out.print(
        "\nWhat differs from the published or released setting, or copies what the default does better:"
    )
    for number, note in enumerate(notes, 1):
        out.print(f"{number:>3}  {note}")
    out.print("\nSources (D is the feature width; λ is reg.weight):")
    for source in sources:
        out.print(f"  {source}")
    sizes = ", ".join(f"{name} ({counted(len(rows), 'row')})" for name, rows in grids().items())
    out.print(f"\nGrids for --grid: {sizes}")
    out.print("Run one: dvc exp run $(infocl recipe cifar10-simclr-lbe)")


def _cells(settings: Mapping[str, Any]) -> list[str]:
    data, encoder, train, reg = (settings[name] for name in ("data", "encoder", "train", "reg"))
    optimizer = train["optimizer"]
    return [
        encoder["arch"],
        str(data["image_size"]),
        str(train["epochs"]),
        str(train["batch_size"]),
        f"{optimizer['name']} {optimizer['lr']:g} {train['schedule']['name']}",
        "-" if reg["name"] in ("none", "noise") else f"{reg['weight']:g}",
    ]


def print_all_notes() -> None:
    """Print, for every published setting, what was published beside what its recipe sets."""
    for number, recipe in enumerate(_published()):
        print("\n" if number else "", end="")
        _print_notes(recipe)


def _published() -> list[Recipe]:
    return [find_recipe(name) for name in names_of(read_yaml(CONF / "published.yaml"))]


def print_recipe(name: str, *, notes: bool = False) -> None:
    """Print one recipe as `-S` overrides on one line, or what was published beside what it sets.

    Raises:
        UserError: there is no such recipe, or it does not fit params.yaml.
    """
    recipe = find_recipe(name)
    if notes:
        _print_notes(recipe)
        return
    checked(recipe, read_yaml(PARAMS_FILE))
    print(" ".join(f"-S {word}" for word in overrides(recipe)))


def _print_notes(recipe: Recipe) -> None:
    out = Output(LIST_WIDTH)
    out.print(f"{recipe.name}\nsource: {recipe.source}\n")
    table = Table(
        Column("term", no_wrap=True),
        Column("published", ratio=4),
        Column("ours", ratio=5, overflow="fold"),
        "source",
        box=None,
    )
    differing = [term for term in recipe.terms if term.differs]
    for term in recipe.terms:
        ours = " ".join(term.ours).replace(",", ", ") or "see below"
        note = f" ({differing.index(term) + 1})" if term.differs else ""
        table.add_row(term.name, term.published, ours + note, term.source)
    out.print(table)
    out.print("\nWhat differs, or copies what the default does better:")
    for number, term in enumerate(differing, 1):
        out.print(f"{number:>3}  {term.differs}")


def print_grid(name: str, seeds: Sequence[int], *, queue: bool) -> None:
    """Print the commands that queue a grid, or run them.

    Raises:
        UserError: there is no such grid, or a row of it does not fit params.yaml.
        InfoCLError: `dvc` refused to queue a row.
    """
    for recipe, command in grid_commands(name, seeds, read_yaml(PARAMS_FILE)).items():
        if queue:
            run_dvc(command, capture=True)
            print(f"queued {recipe}: {counted(len(seeds), 'seed')}", flush=True)
        else:
            print(f"dvc {shlex.join(command)}")
    if queue:
        print("Run them with `dvc queue start`; see them with `dvc exp show` and `infocl table`.")
