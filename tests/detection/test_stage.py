"""The optional stage, run by real DVC in a copy of the project.

That it does not exist unless it is asked for is seen in tests/test_pipeline.py, which names all that ran.
"""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from tests.detection.sets import scenes, write_voc
from tests.detection.test_train import SMALL
from tests.project import Project

DETECT = "detect@masks"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    changes = {f"detection__{name}": value for name, value in SMALL.items()}
    changes |= {"detection__root": "data/raw", "detection__tasks": ["masks"], "train__epochs": 1}
    folder = tmp_path_factory.mktemp("work") / "a clone with spaces"
    project = Project(folder, encoder__arch="resnet50", **changes)
    write_voc(folder / "data/raw", "trainval", scenes(8))
    write_voc(folder / "data/raw", "test", scenes(3, seed=1), first=100)
    return project


def stages(output):
    return set(re.findall(r"Running stage '([^']+)'", output))


def test_it_brings_the_encoder_up_to_date_and_leaves_its_files(project):
    assert stages(project.dvc("repro", DETECT)) == {"check", "prepare", "pretrain", DETECT}
    message = json.loads((project.folder / "metrics/details/detection.json").read_text())
    for kind in ("boxes", "masks"):
        assert message[kind].keys() == {"ap", "ap50", "ap75"}
        assert all(0 <= value <= 1 for value in message[kind].values())
    assert (message["images"], message["train_images"], message["iterations"]) == (3, 8, 6)
    assert message["seconds"] > 0
    assert message["peak_memory_mib"] > 100
    outs = project.folder / "models/detection"
    assert {file.name for file in outs.iterdir()} == {
        *("config.json", "detector.safetensors", "examples.png", "history.csv")
    }
    with Image.open(outs / "examples.png") as picture:
        assert picture.size == (3 * 324 + 4, 2 * 324 + 4), "a column for each test image"
    assert json.loads((outs / "config.json").read_text())["classes"] == ["one", "three", "zero"]
    metrics = json.loads((project.folder / "metrics/detection.json").read_text())
    assert metrics == {kind: message[kind] for kind in ("boxes", "masks")}
    assert "boxes.ap50" in project.dvc("metrics", "show")
    assert not stages(project.dvc("repro", DETECT)), "a second run has nothing to do"


def test_only_what_concerns_it_runs_it_again(project):
    project.change("detection.lr", 0.01)
    assert stages(project.dvc("repro", "--dry", DETECT)) == {"check", DETECT}
    project.change("detection.lr", SMALL["lr"])
    project.change("probe.knn_k", 7)
    assert stages(project.dvc("repro", "--dry", DETECT)) == {"check"}


def test_what_is_wrong_is_said_in_one_line_before_anything_is_trained(project):
    before = (project.folder / "models/detection/detector.safetensors").read_bytes()
    project.change("detection.test", ["VOC2012/val"])
    project.change("seed", 1)
    output = project.dvc("repro", DETECT, code=255)
    assert stages(output) == {"check"}
    line = next(line for line in output.splitlines() if line.startswith("infocl: "))
    assert "VOC2012/ImageSets/Segmentation/val.txt is missing; bring" in line
    assert "exited with 2" in output
    project.change("detection.test", SMALL["test"])
    assert (project.folder / "models/detection/detector.safetensors").read_bytes() == before
