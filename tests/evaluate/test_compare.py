"""The stage compare on a tiny workspace, and its words at their boundaries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from infocl.cli.summary import comparison_lines
from infocl.encoder.network import FIXED_STATISTICS
from infocl.evaluate.compare import run_compare, verdict
from infocl.evaluate.evaluation import FeatureBank, evaluate_data, run_probe, run_transfer
from infocl.evaluate.paired import paired95
from infocl.prepared import shards
from infocl.prepared.reader import load_prepared
from infocl.prepared.sharding import write_shards
from infocl.pretrain.plain import pretrain_plain
from infocl.pretrain.training import pretrain
from infocl.results.comparison import read_compare
from infocl.results.writing import write_results
from infocl.runtime.errors import UserError
from infocl.runtime.files import sha256_file, write_array
from infocl.runtime.paths import CORRECT, FEATURES, PREPARED, TARGETS
from tests.workspace import tiny_params, write_prepared

BASE = {
    "train__device": "cpu",
    "encoder__width": 0.0625,
    "transfer__targets": ["digits"],
    "probe__l2": [0.01, 1.0],
    "compare__untrained": 2,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run up to the stage transfer."""
    root = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_prepared(PREPARED)
        write_prepared(TARGETS / "digits", name="digits", train=110, test=40)
        params = tiny_params(**BASE)
        for stage, work in (("pretrain", pretrain), ("plain", pretrain_plain)):
            write_results(stage, work(params))
        for stage, work in (("probe", run_probe), ("transfer", run_transfer)):
            write_results(stage, work(params))
    return root


@pytest.fixture
def workspace(trained, monkeypatch):
    monkeypatch.chdir(trained)


def compared(**changes):
    found = run_compare(tiny_params(**BASE | changes))
    write_results("compare", found)
    return found, read_compare()


def shards_alone(monkeypatch):
    """What the stage says where the images that pretraining sees are in shards alone."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 7 * 3 * 32**2)
    prepared = load_prepared(PREPARED)
    write_shards(prepared, "shards")
    file = prepared.images_file("train").rename("held-back.npy")
    try:
        return compared(train__shards="shards")[0]
    finally:
        file.rename(prepared.images_file("train"))


def test_every_task_is_judged_by_all_there_is_wherever_the_images_lie(workspace, monkeypatch):
    found, result = compared()
    assert result.kinds == ["majority", "raw", "histogram", "untrained", "plain", "regularised"]
    assert list(result.tasks) == ["source", "digits"]
    assert result.notes() == []
    assert shards_alone(monkeypatch) == found
    for row in (found["source"], found["digits"]):
        assert row["untrained"] == pytest.approx(np.mean(row["untrained_seeds"]))
        assert len(row["untrained_seeds"]) == 2
        assert row["difference"] == pytest.approx(row["regularised"] - row["plain"])
        low, high = row["ci95"]["difference"]
        assert low <= row["difference"] <= high
    assert len(set(found["digits"]["untrained_seeds"])) > 1
    right = np.load(CORRECT / "digits.npy")
    assert found["digits"]["regularised"] == pytest.approx(right.mean())
    gap, interval = paired95(right, right)
    assert gap == 0
    assert interval[0] <= 0 <= interval[1]


def test_an_imported_encoder_is_judged_on_every_task_at_its_size(workspace, tmp_path, capsys):
    torch.manual_seed(0)
    model, file = torchvision.models.resnet18().eval(), tmp_path / "theirs.safetensors"
    save_file(model.state_dict(), file)
    imported = {"file": str(file), "sha256": sha256_file(file), "image_size": 48}
    known = {"compare__untrained": 0} | {
        f"compare__imported__{key}": value for key, value in imported.items()
    }
    found, result = compared(**known)
    assert result.kinds == ["majority", "raw", "histogram", "imported", "plain", "regularised"]
    assert result.imported == "resnet18 from theirs.safetensors, at 48 px"
    assert f"\nimported ({result.imported}): source " in capsys.readouterr().out
    model.fc = torch.nn.Identity()
    preset = torchvision.transforms.Normalize(*FIXED_STATISTICS["imagenet"])

    def features(images):
        large = torch.nn.functional.interpolate(
            torch.tensor(images).permute(0, 3, 1, 2) / 255, 48, mode="bilinear", antialias=True
        )
        with torch.inference_mode():
            return model(preset(large)).numpy()

    for key, folder in (("source", PREPARED), ("digits", TARGETS / "digits")):
        row = evaluate_data(
            load_prepared(folder), FeatureBank(features), tiny_params(**BASE), torch.device("cpu")
        ).row
        assert found[key]["imported"] == pytest.approx(row["accuracy"], abs=0.03)
        assert found[key]["fits"]["imported"][0]["l2"] == row["l2"]
    metrics = json.loads(Path("metrics/compare.json").read_text())
    assert metrics["digits"]["imported"] == found["digits"]["imported"]
    assert any("imported" in line for line in comparison_lines(result))


def test_without_regulariser_there_is_one_trained_encoder(workspace):
    found, result = compared(reg__name="none", compare__untrained=1)
    assert result.kinds == ["majority", "raw", "histogram", "untrained", "plain"]
    assert found["digits"]["difference"] is None
    assert found["digits"]["plain"] == pytest.approx(np.load(CORRECT / "digits.npy").mean())
    assert result.notes() == ["reg.name is none: there is one trained encoder, the plain one."]


def test_what_was_not_asked_for_is_said(workspace, trained, tmp_path, monkeypatch):
    (trained / "models/plain").rename(tmp_path / "plain")
    pretrain_plain(tiny_params(compare__plain=False))
    try:
        _, result = compared(compare__untrained=0)
    finally:
        (trained / "models/plain/not_trained.json").unlink()
        (trained / "models/plain").rmdir()
        (tmp_path / "plain").rename(trained / "models/plain")
    assert result.kinds == ["majority", "raw", "histogram", "regularised"]
    assert ["compare.plain" in note or "compare.untrained" in note for note in result.notes()] == [True, True]
    assert {task.verdict for task in result.tasks.values()} == {None}


@pytest.mark.parametrize(
    ("path", "content", "stage"),
    [
        (FEATURES / "correct.npy", np.zeros(48, bool), "probe"),
        (CORRECT / "digits.npy", np.zeros(39, bool), "transfer"),
        (CORRECT / "digits.npy", np.zeros(40, np.int64), "transfer"),
    ],
)
def test_answers_that_do_not_fit_are_named(workspace, path, content, stage):
    good = path.read_bytes()
    write_array(path, content)
    with pytest.raises(UserError, match=rf"{path.name} (holds|does not give).*dvc repro {stage}"):
        run_compare(tiny_params(**BASE))
    path.write_bytes(good)


def figures(plain=(0.5, 0.45, 0.55), regularised=(0.5, 0.45, 0.55), difference=(-0.05, 0.05), untrained=0.5):
    """Accuracies with intervals; raw pixels are at 0.5, the most frequent class and colours below."""
    known = {"majority": (0.1, [0.1, 0.1]), "raw": (0.5, [0.4, 0.6]), "histogram": (0.2, [0.2, 0.2])}
    for kind, value in (("plain", plain), ("regularised", regularised)):
        if value is not None:
            known[kind] = (value[0], list(value[1:]))
    if plain is not None and regularised is not None:
        known["difference"] = (regularised[0] - plain[0], list(difference))
    if untrained is not None:
        known["untrained"] = (untrained, [untrained - 0.02, untrained + 0.02])
    return known


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, None),
        ({"regularised": (0.6, 0.501, 0.7)}, "learned"),
        ({"regularised": (0.6, 0.5, 0.7)}, None),
        ({"regularised": (0.6, 0.501, 0.7), "untrained": 0.55}, None),
        ({"regularised": (0.6, 0.501, 0.7), "untrained": None}, None),
        ({"plain": (0.4, 0.3, 0.499)}, "forgotten"),
        ({"plain": (0.4, 0.3, 0.5)}, None),
        ({"plain": (0.4, 0.3, 0.499), "untrained": 0.499}, None),
        ({"plain": (0.4, 0.3, 0.499), "untrained": None}, None),
        ({"plain": (0.4, 0.3, 0.499), "difference": (0.001, 0.2)}, "brought back"),
        ({"plain": (0.4, 0.3, 0.499), "difference": (0.0, 0.2)}, "forgotten"),
        ({"difference": (0.001, 0.2)}, None),
        ({"plain": None, "regularised": (0.6, 0.501, 0.7)}, "learned"),
        ({"plain": (0.6, 0.501, 0.7), "regularised": None}, "learned"),
        ({"plain": (0.4, 0.3, 0.499), "regularised": None}, "forgotten"),
    ],
)
def test_words_are_given_only_where_intervals_allow(given, word):
    assert verdict(figures(**given)) == word
