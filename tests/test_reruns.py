"""What a change runs again: this project's dvc.yaml and real DVC; the stages themselves take a moment."""

from __future__ import annotations

import copy
import csv
import io
import json

import pytest
from ruamel.yaml import YAML

from pipelines.changes import find_changes
from tests.pipelines.quick import QuickProject
from tests.project import ALL, DOWNSTREAM


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = QuickProject(tmp_path_factory.mktemp("reruns") / "a project")
    assert project.repro() == ALL
    return project


@pytest.mark.parametrize(
    ("key", "value", "reruns"),
    [
        ("reg.weight", 0.5, {"check", "pretrain"} | DOWNSTREAM),
        ("compare.plain", False, {"check", "plain", "compare", "audit", "report"}),
        ("train.checkpoint_minutes", 6.0, {"check", "report"}),
    ],
)
def test_only_what_depends_on_a_change_runs_again(project, key, value, reruns):
    project.change(key, value)
    assert project.repro() == reruns


@pytest.mark.parametrize(
    ("key", "value", "reruns"),
    [
        ("transfer.targets", ["hue"], {"check", "targets", "transfer", "compare", "export", "report"}),
        ("probe.knn_k", 3, {"check"} | DOWNSTREAM - {"audit"}),
        ("audit.ranges.hue", [-0.1, 0.1], {"check", "audit", "report"}),
        ("export.parity_images", 8, {"check", "export", "report"}),
        ("compare.untrained", 2, {"check", "compare", "audit", "report"}),
    ],
)
def test_of_other_stages_the_same_is_planned(project, monkeypatch, key, value, reruns):
    monkeypatch.chdir(project.folder)
    path = project.folder / "params.yaml"
    text = path.read_text()
    project.change(key, value)
    planned = find_changes().stages
    path.write_text(text)
    assert set(planned) == reruns


def test_a_comment_runs_nothing(project):
    path = project.folder / "params.yaml"
    path.write_text(path.read_text() + "# a remark\n")
    assert project.repro() == set()


# The stages that list the room of the encoder.
ENCODER = {"pretrain", "plain", "probe", "transfer", "compare", "audit", "export"}


@pytest.mark.parametrize(
    ("file", "old", "new", "marked"),
    [
        (
            "infocl/data/sizes.py",
            '("stl10", "eurosat"), 64',
            '("stl10", "eurosat"), 96',
            {"prepare", "targets"},
        ),
        ("infocl/encoder/sizes.py", '"stl": 2', '"stl": 4', ENCODER),
        ("infocl/encoder/sizes.py", "(4, 7)", "(7, 4)", ENCODER),
        ("infocl/data/README.md", "# Images", "# Pictures", set()),
    ],
)
def test_a_value_in_the_code_marks_what_uses_it_and_prose_nothing(project, file, old, new, marked):
    path = project.folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    status = json.loads(project.dvc("status", "--json"))
    path.write_text(text)
    assert set(status) == marked


def test_params_that_were_run_before_are_restored(project):
    def page():
        return (project.folder / "report/index.html").read_text()

    project.commit("as it is")
    before = page()
    project.change("reg.weight", 0.0)
    assert project.repro() >= DOWNSTREAM
    assert page() != before
    project.git("checkout", "--quiet", "params.yaml")
    assert project.repro() == set()
    assert page() == before
    assert not project.git("status", "--porcelain"), "dvc.lock and metrics are those of the first run, too"
    for weight in (0.0, project_weight(project)):
        assert "at work" not in project.dvc("exp", "run", "-S", f"reg.weight={weight}")
    assert page() == before
    assert "up to date" in project.dvc("status")


def test_an_experiment_in_a_temporary_workspace_leaves_this_one_alone(project):
    before = project.dvc("status", "--json"), project.git("status", "--porcelain")
    project.dvc("exp", "run", "--temp", "--name", "apart", "-S", "reg.weight=0.25", "pretrain")
    assert (project.dvc("status", "--json"), project.git("status", "--porcelain")) == before
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv")))
        if row["Experiment"] == "apart"
    ]
    assert row["reg.weight"] == "0.25"


def project_weight(project):
    return YAML(typ="safe").load((project.folder / "params.yaml").read_text())["reg"]["weight"]


def test_a_clone_takes_the_results_from_the_remote(project, tmp_path):
    project.dvc("remote", "add", "--force", "--default", "store", str(tmp_path / "remote"))
    project.commit("a remote")
    project.dvc("push")
    project.git("clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = copy.copy(project)
    clone.folder = tmp_path / "clone"
    message = clone.dvc("repro", "--pull")
    assert "at work" not in message
    assert (clone.folder / "report/index.html").exists()
    assert "up to date" in clone.dvc("status")
