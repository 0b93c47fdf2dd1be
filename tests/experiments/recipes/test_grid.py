"""Grids and the command: what is printed is what DVC queues."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from infocl.cli.main import app
from infocl.experiments.dvc_command import run_dvc
from infocl.experiments.recipes import grid
from infocl.experiments.recipes.compose import find_recipe, overrides, recipe_names
from infocl.experiments.recipes.grid import grid_commands, parse_seeds
from infocl.experiments.recipes.listing import print_grid, print_recipes
from infocl.runtime.errors import InfoCLError, UserError
from infocl.runtime.mappings import merged
from tests.workspace import ROOT, SHIPPED

SMALL = ["embedded-simclr-none", "cifar10-simclr-lbe"]


@pytest.fixture
def small_grid(monkeypatch):
    monkeypatch.setattr(grid, "grids", lambda: {"small": SMALL})


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A DVC repository whose one stage depends on the whole of params.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: echo\n    params:\n      - params.yaml:\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        ["git", "add", "-A"],
        ["git", *who, "commit", "-qm", "start"],
    ):
        subprocess.run(command, check=True)
    for key, value in (("user.name", "t"), ("user.email", "t@localhost")):
        subprocess.run(["git", "config", key, value], check=True)


def command(*arguments):
    return CliRunner().invoke(app, ["recipe", *arguments])


def test_a_queued_grid_holds_each_recipe_with_each_seed(repository, small_grid, capsys):
    print_grid("small", [0, 4], queue=True)
    assert "queued embedded-simclr-none: 2 seeds" in capsys.readouterr().out
    shown = json.loads(run_dvc(["exp", "show", "--json"], capture=True))
    rows = [row for commit in shown for row in commit["experiments"] or []]
    assert [row["executor"]["state"] for row in rows] == ["queued"] * 4
    queued = [row["revs"][0]["data"]["params"]["params.yaml"]["data"] for row in rows]
    for name in SMALL:
        for seed in (0, 4):
            wanted = merged(SHIPPED, find_recipe(name).settings | {"seed": seed})
            assert queued.count(wanted) == 1


def test_the_printed_commands_are_the_queued_ones(repository, small_grid, capsys):
    print_grid("small", [0, 1], queue=False)
    lines = capsys.readouterr().out.splitlines()
    assert [shlex.split(line)[1:] for line in lines] == list(grid_commands("small", [0, 1], SHIPPED).values())
    assert all(line.startswith("dvc exp run --queue -S ") and line.endswith("-S seed=0,1") for line in lines)


def test_a_grid_is_checked_whole_before_anything_is_queued(monkeypatch, small_grid):
    raw = merged(SHIPPED, {"reg": {"lbe": {"views": "sideways"}}})
    with pytest.raises(UserError, match=r"recipe embedded-simclr-none: reg.lbe.views is 'sideways'"):
        grid_commands("small", [0], raw)
    with pytest.raises(UserError, match="--seeds: seed is 9999999999, but must be at most"):
        grid_commands("small", [9999999999], SHIPPED)
    with pytest.raises(UserError, match=r"there is no grid 'smal'; did you mean small\?"):
        grid_commands("smal", [0], SHIPPED)


@pytest.mark.parametrize("text", ["", "a", "0,", "0;1", "-1", "1.5", "1,1", "²"])
def test_wrong_seeds_are_refused(text):
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


def test_seeds_are_read():
    assert parse_seeds("3, 0,1") == [3, 0, 1]


def test_a_failing_dvc_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InfoCLError, match=r"^dvc exp show failed: you are not inside of a DVC repository"):
        run_dvc(["exp", "show"], capture=True)


def test_the_command_prints_one_line_of_overrides(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = command("cifar10-simclr-lbe")
    words = [part for word in overrides(find_recipe("cifar10-simclr-lbe")) for part in ("-S", word)]
    assert (result.exit_code, result.stdout.split(), result.stdout.count("\n")) == (0, words, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar10-simclr-lb"], "there is no recipe 'cifar10-simclr-lb'; did you mean"),
        (["--grid", "paper/cifar"], "there is no grid 'paper/cifar'; did you mean paper/cifar10"),
        (["x", "--grid", "embedded"], "--grid takes neither a recipe nor --notes"),
        (["--queue"], "--queue and --seeds need --grid"),
        (["cifar10-simclr-rc", "--seeds", "0"], "--queue and --seeds need --grid"),
        (["--grid", "embedded", "--seeds", ""], "--seeds is ''"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(monkeypatch, arguments, message):
    monkeypatch.chdir(ROOT)
    result = command(*arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"infocl: {message}")


def test_an_unknown_recipe_stops_the_surrounding_command_too(repository):
    """`dvc exp run $(infocl recipe TYPO)` must not run params.yaml as it is."""
    printed = command("cifar10-simclr-lb").stdout.split()
    with pytest.raises(InfoCLError, match="unrecognized arguments"):
        run_dvc(["exp", "run", *printed], capture=True)


def test_the_list_names_each_recipe_once_with_its_differences(capsys):
    print_recipes()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.strip().startswith("cifar10-simclr-lbe ") for line in lines) == 1
    (row,) = [line for line in lines if line.strip().startswith("imagenet-simclr-rc ")]
    assert row.split()[1:9] == ["resnet50", "224", "200", "1024", "lars", "1.2", "cosine", "0.1"]
    numbers = row.split()[10:]
    notes = {line.split()[0]: line for line in lines if line[:3].strip().isdigit()}
    assert numbers
    assert set(numbers) <= set(notes)
    assert any("Images are the middle square" in notes[number] for number in numbers)


def test_notes_of_one_recipe_say_what_was_published_what_it_sets_and_where_that_stands():
    result = command("cifar10-byol-lbe", "--notes")
    assert result.exit_code == 0
    assert "Batch 128 as in the released command; the paper says 256." in result.stdout
    (heading,) = [line for line in result.stdout.splitlines() if "published" in line and "ours" in line]
    assert heading.split() == ["term", "published", "ours", "source"]
    (row,) = [line for line in result.stdout.splitlines() if line.split()[:1] == ["rho"]]
    for part in ("0.05 at every level", "reg.lbe.rho=0.05", "released code"):
        assert part in row
    for word in overrides(find_recipe("cifar10-byol-lbe")):
        assert word.split("=")[0] in result.stdout, "each key that the recipe sets stands in a row"


def test_notes_without_a_name_are_those_of_every_published_setting():
    lines = command("--notes").stdout.splitlines()
    published = [name for name in recipe_names() if not name.startswith("embedded-")]
    assert [line for line in lines if line in published] == published
