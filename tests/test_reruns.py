"""What a change runs again: this project's dvc.yaml and real DVC; the stages themselves take a moment."""

from __future__ import annotations

import pytest

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
        ("transfer.targets", ["hue"], {"check", "targets", "transfer", "export", "report"}),
        ("probe.knn_k", 3, {"check"} | DOWNSTREAM),
        ("export.parity_images", 8, {"check", "export", "report"}),
        ("reg.weight", 0.5, {"check", "pretrain"} | DOWNSTREAM),
        ("train.checkpoint_minutes", 6.0, {"check", "report"}),
    ],
)
def test_only_what_depends_on_a_change_runs_again(project, key, value, reruns):
    project.change(key, value)
    assert project.repro() == reruns
    assert project.repro() == set()


def test_a_comment_runs_nothing(project):
    path = project.folder / "params.yaml"
    path.write_text(path.read_text() + "# a remark\n")
    assert project.repro() == set()
