"""The Triton layout; tests/deploy/test_installed.py reads its config with Triton's own schema."""

from __future__ import annotations

import json
import re

import pytest


def test_the_layout_is_tritons(folder, infocl, tmp_path):
    repository = tmp_path / "models"
    result = infocl("triton", folder, repository, "--variant", "int8")
    assert result.exit_code == 0, result.stderr
    files = sorted(str(path.relative_to(repository)) for path in repository.rglob("*") if path.is_file())
    assert files == ["encoder/1/model.onnx", "encoder/config.pbtxt"]
    assert (repository / "encoder/1/model.onnx").read_bytes() == (folder / "encoder.int8.onnx").read_bytes()
    assert f"--model-repository={repository}" in result.stdout


def test_writing_again_replaces_and_other_models_stay(folder, infocl, tmp_path):
    other = tmp_path / "models/other/config.pbtxt"
    other.parent.mkdir(parents=True)
    other.write_text("other")
    for variant in ("float32", "float16"):
        assert infocl("triton", folder, tmp_path / "models", "--variant", variant).exit_code == 0
    config = (tmp_path / "models/encoder/config.pbtxt").read_text()
    about = json.loads((folder / "encoder.json").read_text())
    assert set(re.findall("[0-9a-f]{64}", config)) == {about["variants"]["float16"]["sha256"]}
    assert other.read_text() == "other"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_no_triton_model_is_left_alone(folder, refuses, tmp_path, what):
    place = tmp_path / "models/encoder"
    if what == "file":
        place.parent.mkdir()
        place.write_text("mine")
    else:
        place.mkdir(parents=True)
        (place / "mine.txt").write_text("mine")
    assert "is there and is no Triton model" in refuses("triton", folder, tmp_path / "models")
    assert what == "folder" or place.read_text() == "mine"
    assert what == "file" or (place / "mine.txt").read_text() == "mine"
