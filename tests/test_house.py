"""The layout is the architecture: which room imports which, and which rooms dvc.yaml names for a stage."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from infocl.pretrain.fingerprint import ROOMS
from tests.workspace import ROOT

NEUTRAL = {"config", "runtime"}  # how a stage is run, checked and stored, never what comes out
MAY_IMPORT = {
    "runtime": set(),
    # sizes that it validates against, and the knobs of plug-ins, which lie beside their code
    "config": {"runtime", "data", "encoder", "pretrain"},
    "results": NEUTRAL,
    "prepared": NEUTRAL,
    "encoder": NEUTRAL | {"prepared"},
    "data": NEUTRAL | {"prepared"},
    "pretrain": NEUTRAL | {"prepared", "encoder"},
    "evaluate": NEUTRAL | {"prepared", "encoder", "results"},
    "audit": NEUTRAL | {"prepared", "encoder", "results", "evaluate"},
    "export": NEUTRAL | {"prepared", "encoder", "results", "evaluate"},
    "report": NEUTRAL | {"prepared", "results", "evaluate", "export"},
    "detection": NEUTRAL | {"encoder"},
}
FOR_PEOPLE = {"cli", "deploy", "experiments"}  # no stage imports them
STAGES = {
    name: stage.get("do", stage)
    for name, stage in YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].items()
    if name != "check"
}


def modules_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Constant) and re.fullmatch(r"infocl[\w.]*:\w+", str(node.value)):
        return [node.value.partition(":")[0]]  # a reader of the registry, imported when it is asked for
    return []


def imports(file: Path) -> set[str]:
    """Modules that a file imports, the name of what is taken from them included."""
    return {module for node in ast.walk(ast.parse(file.read_text())) for module in modules_of(node)}


def rooms_of(files) -> set[str]:
    found = {
        module.split(".")[1] for file in files for module in imports(file) if module.startswith("infocl.")
    }
    return {room for room in found if (ROOT / "infocl" / room).is_dir()}


def test_every_folder_of_the_library_is_a_room_with_rules():
    rooms = {file.parent.name for file in (ROOT / "infocl").glob("*/__init__.py")}
    assert rooms == MAY_IMPORT.keys() | FOR_PEOPLE
    assert {file.stem for file in (ROOT / "infocl").glob("*.py")} == {"__init__", "__main__"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room):
    files = (ROOT / "infocl" / room).rglob("*.py")
    assert rooms_of(files) - {room} <= MAY_IMPORT[room]


def test_the_library_knows_neither_dvc_nor_prefect_nor_what_stands_above_it():
    for file in (ROOT / "infocl").rglob("*.py"):
        if "cli" not in file.parts:
            assert not {name.split(".")[0] for name in imports(file)} & {
                "dvc",
                "prefect",
                "stages",
                "pipelines",
            }, file


def test_objectives_and_regularisers_do_not_know_each_other():
    for one, other in (("objectives", "regularizers"), ("regularizers", "objectives")):
        for file in (ROOT / "infocl/pretrain" / one).glob("*.py"):
            assert not any(f".{other}." in f"{name}." for name in imports(file)), file


def code_of(stage: str) -> set[Path]:
    """Every module that a stage's script imports, directly or not, without what is neutral."""
    waiting, seen = [ROOT / "stages" / f"{stage}.py"], set()
    while waiting:
        places = [ROOT / name.replace(".", "/") for name in imports(waiting.pop())]
        names = [name for place in places for name in (place, place.parent)]
        new = {f for name in names for f in (name.with_suffix(".py"), name / "__init__.py") if f.exists()}
        new = {
            file for file in new if file.parent.name not in NEUTRAL and ROOT / "stages" not in file.parents
        }
        waiting += new - seen
        seen |= new
    return {file.relative_to(ROOT) for file in seen}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_rooms_whose_code_it_runs(stage):
    listed = {Path(dep).name for dep in STAGES[stage]["deps"] if dep.startswith("infocl/")}
    used = {file.parts[1] for file in code_of(stage) if file.parts[0] == "infocl" and len(file.parts) > 2}
    assert listed == used


def test_a_checkpoint_belongs_to_the_same_code_as_its_stage():
    assert set(ROOMS) == {Path(dep).name for dep in STAGES["pretrain"]["deps"] if dep.startswith("infocl/")}
