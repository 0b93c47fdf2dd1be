"""A value that is refused loses nothing, however it came into params.yaml: real DVC and the real stages."""

from __future__ import annotations

import hashlib
import re
import time

import pytest

from tests.project import Project

RUN = ("dvc", "exp", "run", "--name", "edited", "-S", "train.epochs=8", "pretrain")


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
    source = project.folder / "infocl/encoder/views.py"
    source.write_text(source.read_text() + "# not committed\n")
    before = contents(project)
    params = (project.folder / "params.yaml").read_text()
    for setting, message in (
        ("data.name=../raw", "infocl: params.yaml: data.name is '../raw'; use one of shapes"),
        ("train.epochs=-1", "infocl: params.yaml: train.epochs is -1, but must be at least 1"),
    ):
        assert message in project.dvc("exp", "run", "-S", setting, code=255)
        (project.folder / "params.yaml").write_text(params)
        assert contents(project) == before
    project.git("checkout", "--quiet", "infocl")


def test_studies_and_sweeps_find_downloaded_data_where_they_lie_and_name_what_is_wrong_with_them(project):
    file = project.folder / "data/raw/emoji-datasource-google-16.0.0.tgz"
    file.write_bytes(b"damaged")
    words = ("--regularizers", "none", "--seeds", "0", "-S", "data.name=emoji")
    message = project.run("infocl", "study", *words, code=1)
    assert re.search(rf"infocl: every experiment failed; .*{re.escape(str(file))} ", message)
    message = project.run("infocl", "sweep", "-S", "data.name=emoji", "-S", "seed=0", code=1)
    assert f"{file} is damaged or another file" in message
    file.unlink()


def test_an_edit_while_it_runs_is_refused_and_the_training_is_kept(project):
    path = project.folder / "params.yaml"
    process = project.start(*RUN)
    deadline = time.monotonic() + 900
    while not [*(project.folder / "models/checkpoints").glob("*/checkpoint.safetensors")][1:]:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    path.write_text(re.sub("^seed: 0$", "seed: 7", path.read_text(), flags=re.M))  # at once: little is left
    message, _ = process.communicate(timeout=900)
    assert process.returncode == 255, message
    assert "infocl: params.yaml was edited while this stage ran: seed 0 -> 7; set it back" in message
    assert "edited" not in project.dvc("exp", "list")
    project.change("seed", 0)
    message = project.dvc("exp", "run", "--name", "edited", "pretrain")
    assert "Continuing from step 24 of 24." in message
    assert "edited" in project.dvc("exp", "list")


def test_an_edit_between_two_stages_is_refused(project):
    message = project.dvc("repro", "prepare")
    project.change("reg.weight", 0.5)
    message = project.dvc("repro", "--single-item", "pretrain", code=255)
    assert "infocl: params.yaml was edited after the stage check of this run: reg.weight" in message
