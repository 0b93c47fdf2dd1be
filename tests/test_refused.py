"""A value that is refused loses nothing, however it came into params.yaml: real DVC and the real stages."""

from __future__ import annotations

import hashlib

import pytest

from tests.project import Project



@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("work") / "a clone")
    project.dvc("repro", "prepare")
    project.commit("prepared")
    return project


def contents(project):
    return {
        str(path.relative_to(project.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for top in ("data", "infocl", "models")
        for path in (project.folder / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "checked.json"
    }


def test_a_refused_value_clears_no_folder(project):
    for file in ("data/raw/mine.png", "models/checkpoints/0123/checkpoint.safetensors"):
        (project.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / file).write_bytes(b"of the user")
    source = project.folder / "infocl/views.py"
    source.write_text(source.read_text() + "# not committed\n")
    before = contents(project)
    params = (project.folder / "params.yaml").read_text()
    for setting, said in (
        ("data.name=../raw", "infocl: params.yaml: data.name is '../raw'; use one of scenes"),
        ("data.name=../../infocl", "infocl: params.yaml: data.name is '../../infocl'; use one of scenes"),
        ("data.name=../../models", "infocl: params.yaml: data.name is '../../models'; use one of scenes"),
        ("train.epochs=-1", "infocl: params.yaml: train.epochs is -1, but must be at least 1"),
    ):
        assert said in project.dvc("exp", "run", "-S", setting, code=255)
        (project.folder / "params.yaml").write_text(params)
        assert contents(project) == before
    project.git("checkout", "--quiet", "infocl")
