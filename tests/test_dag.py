"""dvc.yaml names the code that each stage runs: a change of code never leaves a stale result."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.workspace import ROOT

STAGES = {
    name: stage.get("do", stage)
    for name, stage in YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
# These change how a stage is run, checked, shown or stored, not what comes out.
NEUTRAL = {
    *("__init__", "checkpoint", "config", "console", "crowding", "device", "errors", "files"),
    *("health", "layout", "mappings", "metrics", "params_file", "params_watch"),
    *("progress", "stage", "workspace_lock"),
}


def imported(file: Path) -> set[Path]:
    """The library's modules that a file imports, those named as "infocl.module:function" among them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        for module in modules_of(node):
            place = ROOT / module.replace(".", "/")
            found |= {f for f in (place.with_suffix(".py"), place / "__init__.py") if f.exists()}
    return found


def modules_of(node):
    if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "infocl":
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Constant) and re.fullmatch(r"infocl[\w.]*:\w+", str(node.value)):
        return [node.value.partition(":")[0]]
    return []


def code_of(stage: str) -> set[Path]:
    """Every module that a stage's script imports, directly or not, relative to the project."""
    waiting, seen = [ROOT / "stages" / f"{stage}.py"], set()
    while waiting:
        file = waiting.pop()
        if file.is_relative_to(ROOT / "infocl/config"):  # it only checks values by what it imports
            continue
        new = imported(file) - seen
        seen |= new
        waiting += new
    return {file.relative_to(ROOT) for file in seen}


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "check"])
def test_a_stage_depends_on_the_code_it_runs_and_on_no_other(stage):
    listed = [Path(dep) for dep in STAGES[stage]["deps"] if dep.startswith("infocl/")]
    used = code_of(stage)
    shaping = [file for file in used if file.parts[1].removesuffix(".py") not in NEUTRAL]
    unlisted = [str(file) for file in shaping if not any(file.is_relative_to(dep) for dep in listed)]
    assert not unlisted, f"stage {stage} runs code that dvc.yaml does not list"
    unused = [str(d) for d in listed if d.suffix != ".md" and not any(f.is_relative_to(d) for f in used)]
    assert not unused, f"stage {stage} lists code that it does not run"
