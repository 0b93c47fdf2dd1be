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
    project.fault("pretrain", "wrong the first training goes wrong")
    found, messages = study(project)
    assert "SimCLR, seed 0: dvc exp run failed: the first training goes wrong" in messages
    assert [method["regularizer"] for method in found["methods"]] == ["rc"]
    assert "there is nothing to compare it with yet" in found["sentences"][0]
    assert found["sentences"][1] == "1 experiment of 2 not finished."
    found, messages = study(project, "--seeds", "0,1", "--jobs", "2")
    assert "4 experiments, 3 of them missing.\n[1/3] SimCLR, seed 0\n[2/3] SimCLR, seed 1\n" in messages
    assert [method["regularizer"] for method in found["methods"]] == ["none", "rc"]
    assert found["methods"][1]["difference"]["digits"] == {
        "mean": 0.0,
        "half_width": 0.0,
        "seeds": 2,
        "p_holm": 1.0,
    }
    assert found["sentences"] == ["SimCLR + RC (λ = 1): no difference is shown on digits."]
    assert project.git("status", "--short") == "", "the workspace is left alone"
