"""`infocl study` by real DVC, on stages that take a moment."""

from __future__ import annotations

import json
from copy import copy

from tests.pipelines.quick import QuickProject


def study(project, *more):
    """What `infocl study` prints as JSON, and what it says meanwhile."""
    words = f"infocl study --regularizers rc --seeds 0 --format json {' '.join(more)} 2> ../messages"
    return json.loads(project.run("sh", "-c", words)), (project.outside / "messages").read_text()


def test_a_study_in_a_clone_without_results_goes_on_where_it_was_stopped(tmp_path):
    made = QuickProject(tmp_path / "made", without=("targets", "plain", "audit"))
    made.repro()
    made.commit("results that lie in this clone's cache alone")
    made.git("clone", "--quiet", ".", str(tmp_path / "project"))
    project = copy(made)
    project.folder = tmp_path / "project"
    for _ in range(2):
        project.run("infocl", "study", "--regularizers", "rc", "--seeds", "0", "--queue")
    assert project.run("dvc", "queue", "status").count("Queued") == 2, "what waits is not queued again"
    project.run("dvc", "queue", "remove", "--queued")
    project.fault("pretrain", "wrong the first training goes wrong")
    found, messages = study(project)
    assert "SimCLR, seed 0: dvc exp run failed: the first training goes wrong" in messages
    assert [method["regularizer"] for method in found["methods"]] == ["rc"]
    assert "there is nothing to compare it with yet" in found["sentences"][0]
    assert found["sentences"][1] == "1 experiment of 2 not finished."
    found, messages = study(project)
    assert "2 experiments, 1 of them missing." in messages
    assert [method["regularizer"] for method in found["methods"]] == ["none", "rc"]
    assert found["methods"][1]["difference"]["digits"]["mean"] == 0.0
    assert found["sentences"] == ["SimCLR + RC (λ = 1): one seed allows no statement."]
    found, messages = study(project, "--seeds", "0,1", "--jobs", "2")
    assert "[1/2] SimCLR, seed 1\n[2/2] SimCLR + RC (λ = 1), seed 1\n" in messages
    assert found["methods"][1]["difference"]["digits"]["seeds"] == 2
    assert project.git("status", "--short") == "", "the workspace is left alone"
