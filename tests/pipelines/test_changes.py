"""What changed, in words, on the project's own pipeline with real DVC (its stages take a moment)."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from infocl.runtime.errors import UserError
from pipelines.changes import Plan, find_changes
from pipelines.sources import data_files
from tests.project import environment

DOWN = ["probe", "transfer", "compare", "audit", "export", "report"]
FOLLOWS = "what it reads may change"


@pytest.fixture(scope="module")
def reproduced(quick):
    """All stages were run."""
    quick.dvc("repro", "--quiet")
    quick.commit("reproduced")
    return quick


@pytest.fixture
def project(reproduced, monkeypatch):
    """The current folder; put back as it was afterwards."""
    monkeypatch.chdir(reproduced.folder)
    yield reproduced
    reproduced.git("checkout", "--quiet", ".")
    reproduced.git("clean", "-fdq", "infocl", "stages")


def test_after_a_reproduction_there_is_nothing_to_do(project):
    plan = find_changes()
    assert plan == Plan([], {}, [])
    assert plan.empty
    assert plan.lines() == []
    assert plan.headline() == "nothing changed"


def test_a_param_is_named_with_both_values_at_the_first_stage_that_reads_it_and_the_rest_follows(project):
    project.change("reg.weight", 0.1)
    plan = find_changes()
    assert plan.stages == ["check", "pretrain", *DOWN]
    assert plan.lines() == [
        f"check: {FOLLOWS}",
        "pretrain: reg.weight 1.0 -> 0.1",
        *(f"{stage}: {FOLLOWS}" for stage in DOWN),
    ]
    assert plan.headline() == "pretrain: reg.weight 1.0 -> 0.1"


def test_a_param_that_only_check_and_report_read_is_named_there(project):
    project.change("train.checkpoint_minutes", 7.0)
    plan = find_changes()
    assert plan.reasons == {"check": ["train.checkpoint_minutes 5 -> 7.0"]}
    assert plan.stages == ["check", "report"]


def test_several_params_and_a_list_are_named_once_each(project):
    project.change("transfer.targets", ["digits", "hue"])
    project.change("seed", 1)
    plan = find_changes()
    assert plan.reasons["targets"] == ["transfer.targets ['digits'] -> ['digits', 'hue']"]
    assert plan.reasons["pretrain"] == ["seed 0 -> 1"]
    assert plan.stages[0] == "check"
    assert "probe" not in plan.reasons, "the seed was told at the stage before"
    assert "prepare" not in plan.stages


def test_another_objective_shows_the_knobs_that_are_read_now(project):
    project.change("objective.name", "byol")
    reasons = find_changes().reasons["pretrain"]
    assert "objective.name simclr -> byol" in reasons
    assert "objective.byol.momentum absent -> 0.996" in reasons


def test_code_is_named_by_file(project):
    with (project.folder / "infocl/pretrain/objectives/simclr.py").open("a") as stream:
        stream.write("\nX = 1\n")
    plan = find_changes()
    assert plan.headline().startswith("pretrain: code infocl/pretrain")
    assert plan.stages == ["pretrain", "plain", *DOWN]


def test_other_data_are_named_as_params_and_as_paths(project, tmp_path):
    project.change("data.name", "folder")
    plan = find_changes()
    assert plan.reasons["prepare"][0] == "data.name scenes -> folder"
    assert plan.stages == ["check", "prepare", "targets", "pretrain", "plain", *DOWN]


def test_a_new_raw_file_is_data_and_targets_read_it_too(project):
    (project.folder / "data/raw/new.png").write_bytes(b"x")
    try:
        plan = find_changes()
    finally:
        (project.folder / "data/raw/new.png").unlink()
    assert plan.headline() == "prepare: data data/raw"
    assert plan.stages == ["prepare", "targets", "pretrain", "plain", *DOWN]
    assert plan.reasons == {"prepare": ["data data/raw"]}


@pytest.mark.parametrize("name", ["images", "data/raw/images"])
def test_data_that_dvc_tracks_come_first(project, name):
    """In the folder of raw data, which git ignores but for what DVC keeps there, as elsewhere."""
    folder = project.folder / name
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    project.dvc("add", "--quiet", name)
    assert find_changes().data == []
    assert data_files() == [f"{name}.dvc"]
    (folder / "b.txt").write_text("b")
    plan = find_changes()
    shutil.rmtree(folder)
    (project.folder / f"{name}.dvc").unlink()
    assert plan.data == [f"{name}.dvc"]
    assert plan.lines()[0] == plan.headline() == f"{name}.dvc: its data changed"
    assert plan.stages == ["check", "prepare", "targets", "pretrain", "plain", *DOWN]


def test_results_that_are_gone_or_changed_are_made_again_with_what_follows(project):
    shutil.rmtree(project.folder / "models/pretrain")
    plan = find_changes()
    assert plan.reasons["pretrain"] == ["models/pretrain is missing or changed"]
    assert plan.stages == ["pretrain", *DOWN]
    (project.folder / "metrics/transfer.json").write_text("{}")
    assert find_changes().reasons["transfer"] == ["metrics/transfer.json is missing or changed"]
    project.git("checkout", "--quiet", ".")
    project.dvc("checkout", "--quiet")
    assert find_changes().empty


def test_a_comment_changes_nothing(project):
    for name in ("params.yaml", "dvc.yaml"):
        path = project.folder / name
        path.write_text(path.read_text() + "# a remark\n")
    assert find_changes().empty


def test_another_command_is_a_change(project):
    path = project.folder / "dvc.yaml"
    path.write_text(path.read_text().replace("python -m stages.export", "python -X dev -m stages.export"))
    plan = find_changes()
    assert plan.lines() == ["export: its command", f"report: {FOLLOWS}"]


def test_the_optional_detection_stage_is_never_part_of_it(project):
    project.change("detection.flip_p", 0.25)
    assert find_changes().stages == ["check", "report"]
    project.change("seed", 3)
    assert not any("detect" in stage for stage in find_changes().stages)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("params.yaml", "seed: [", r"params\.yaml line 1.*not valid YAML"),
        ("params.yaml", None, r"params\.yaml is missing"),
        ("dvc.yaml", "stages: [", r"dvc\.yaml.*correct it"),
        ("dvc.yaml", "stages:\n  check:\n    cmds: x\n", r"dvc\.yaml.*correct it"),
        ("dvc.lock", "schema: '2.0'\nstages: [", r"dvc\.lock.*correct it"),
    ],
)
def test_a_broken_file_is_one_line_that_names_it(project, name, content, message):
    if content is None:
        (project.folder / name).unlink()
    else:
        (project.folder / name).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        find_changes()
    assert "\n" not in str(caught.value)


def test_without_results_everything_is_to_do_in_the_order_of_the_pipeline(project):
    (project.folder / "dvc.lock").unlink()
    plan = find_changes()
    assert plan.stages == ["check", "prepare", "targets", "pretrain", "plain", *DOWN]
    assert not plan.empty
    command = ["dvc", "repro", "--dry"]
    dry = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
    order = [line.split("'")[1] for line in dry.splitlines() if line.startswith("Running stage")]
    position = {stage: index for index, stage in enumerate(plan.stages)}
    assert set(order) == set(plan.stages)
    orders = ("prepare", "pretrain"), ("pretrain", "probe"), ("plain", "compare"), ("transfer", "export")
    for before, after in orders:
        assert position[before] < position[after]
        assert order.index(before) < order.index(after)
