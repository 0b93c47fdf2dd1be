"""The stages probe and transfer on a tiny workspace."""

from __future__ import annotations

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from infocl.encoder.files import load_encoder, save_encoder
from infocl.encoder.network import Encoder
from infocl.evaluate import evaluation
from infocl.evaluate.diagnostics import describe_features, describe_views, encode_views
from infocl.evaluate.features import extract
from infocl.evaluate.scaling import fit_scaling
from infocl.evaluate.stored import SplitFeatures, StoredFeatures, load_features, save_features
from infocl.prepared.reader import load_prepared
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, sha256_array, write_array, write_json
from infocl.runtime.paths import FEATURES, PREPARED, PRETRAIN, TARGETS
from tests.workspace import tiny_params, write_prepared

CPU = torch.device("cpu")
PARAMS = {"train__device": "cpu", "encoder__width": 0.0625, "transfer__targets": ["hue", "place", "digits"]}


@pytest.fixture
def params():
    return tiny_params(**PARAMS)


@pytest.fixture
def workspace(tmp_path, monkeypatch, params):
    """A source, two targets on its images (hue: the source's labels, place: others), one on its own."""
    monkeypatch.chdir(tmp_path)
    source = write_prepared(PREPARED)
    write_encoder(params, seed=0)
    for number, name in enumerate(("hue", "place")):
        target = shutil.copytree(source, TARGETS / name)
        meta = read_json(source / "meta.json", "") | {"name": name}
        for split in ("train", "test"):
            labels = np.load(source / split / "labels.npy")
            labels = labels if number == 0 else (labels < 5).astype(np.int64)
            write_array(target / split / "labels.npy", labels)
            meta["splits"][split]["labels_sha256"] = sha256_array(labels)
        write_json(target / "meta.json", meta)
    write_prepared(TARGETS / "digits", name="digits", train=110, test=40)
    return tmp_path


def write_encoder(params, *, seed, **about):
    torch.manual_seed(seed)
    encoder = Encoder(params.encoder, [0.2, 0.2, 0.2], [0.3, 0.3, 0.3])
    PRETRAIN.mkdir(parents=True, exist_ok=True)
    save_encoder(PRETRAIN, encoder, {"image_size": 32} | about)


def test_probe_writes_features_and_every_metric(workspace, params):
    metrics = evaluation.run_probe(params)
    stored = load_features(FEATURES)
    encoder, config = load_encoder(PRETRAIN)
    assert stored.encoder_sha256 == config["weights_sha256"]
    assert stored.splits["train"].features.shape == (96, encoder.dim)
    assert stored.splits["test"].images_sha256 == load_prepared(PREPARED).split("test").images_sha256
    assert {"accuracy", "accuracy_ci95", "knn_accuracy", "rankme", "dim", "dead_units", "alignment"} <= set(
        metrics
    )
    assert {"uniformity", "info_nce_nats", "info_nce_ceiling_nats", "majority", "l2"} <= set(metrics)
    assert metrics["accuracy"] > 0.3 > metrics["majority"]
    json.dumps(metrics, allow_nan=False)


def test_diagnostics_are_of_held_out_views_scaled_by_the_training_images(workspace, params):
    metrics = evaluation.run_probe(params)
    encoder, _ = load_encoder(PRETRAIN)
    held_out = load_prepared(PREPARED).split("test").images
    pairs = encode_views(encoder, held_out, params.views, params.seed, CPU)
    train = torch.from_numpy(load_features(FEATURES).splits["train"].features)
    expected = describe_features(train, params.seed) | describe_views(*pairs, fit_scaling(train))
    assert expected["view_images"] == 48
    assert {key: metrics[key] for key in expected} == expected


def test_without_labels_only_the_diagnostics_remain(workspace, params):
    labelled = evaluation.run_probe(params)
    shutil.rmtree(PREPARED)
    write_prepared(PREPARED, labelled=False)
    unlabelled = evaluation.run_probe(params)
    assert not {"accuracy", "knn_accuracy", "majority"} & set(unlabelled)
    assert unlabelled == {key: labelled[key] for key in unlabelled}


def test_transfer_gives_one_row_for_each_target_and_the_mean(workspace, params):
    source = evaluation.run_probe(params)
    assert evaluation.run_probe(params) == source, "the same numbers twice"
    metrics = evaluation.run_transfer(params)
    rows = [metrics[target] for target in ("hue", "place", "digits")]
    assert evaluation.run_transfer(params) == metrics
    assert metrics["hue"] == {key: source[key] for key in metrics["hue"]}
    assert metrics["mean_accuracy"] == pytest.approx(sum(row["accuracy"] for row in rows) / 3)
    assert metrics["mean_knn_accuracy"] == pytest.approx(sum(row["knn_accuracy"] for row in rows) / 3)
    low, high = metrics["mean_accuracy_ci95"]
    assert low < metrics["mean_accuracy"] < high
    assert metrics["digits"]["test_images"] == 40
    json.dumps(metrics, allow_nan=False)


def test_transfer_reads_the_features_of_the_probe_stage(workspace, params):
    """Stored features that give the label away make exactly the targets on those images easy."""
    evaluation.run_probe(params)
    stored = load_features(FEATURES)
    reported = {}
    for name, split in stored.splits.items():
        labels = np.load(TARGETS / "place" / name / "labels.npy")
        features = np.random.default_rng(0).normal(0, 0.01, split.features.shape).astype(np.float32)
        features[:, 0] += labels
        reported[name] = SplitFeatures(features, split.images_sha256)
    save_features(FEATURES, StoredFeatures(stored.encoder_sha256, reported))
    metrics = evaluation.run_transfer(params)
    assert metrics["place"]["accuracy"] == 1.0
    assert metrics["digits"]["accuracy"] < 1.0


def test_images_shared_by_targets_are_encoded_once(workspace, params):
    evaluation.run_probe(params)
    shutil.copytree(TARGETS / "digits", TARGETS / "photos")
    encoder, _ = load_encoder(PRETRAIN)
    bank = evaluation.FeatureBank(
        partial(extract, encoder, device=CPU), load_features(FEATURES).splits.values()
    )
    first = bank.features(load_prepared(TARGETS / "digits").split("train"))
    assert bank.features(load_prepared(TARGETS / "photos").split("train")) is first
    assert bank.features(load_prepared(TARGETS / "digits").split("test")) is not first


def test_features_of_another_encoder_are_refused(workspace, params):
    evaluation.run_probe(params)
    write_encoder(params, seed=1)
    with pytest.raises(UserError, match=r"another encoder .*dvc repro probe"):
        evaluation.run_transfer(params)


def test_transfer_before_probe_is_told_to_wait(workspace, params):
    with pytest.raises(UserError, match=r"features.*missing; make it again: .*dvc repro probe"):
        evaluation.run_transfer(params)


@pytest.mark.parametrize("stage", [evaluation.run_probe, evaluation.run_transfer])
def test_images_of_another_size_are_refused(workspace, params, stage):
    evaluation.run_probe(params)
    write_prepared(PREPARED, size=16)
    write_prepared(TARGETS / "hue", name="hue", size=16)
    with pytest.raises(UserError, match=r"(holds images of|data.image_size) 16.*, but .* 32"):
        stage(params)


def test_a_target_without_labels_is_refused(workspace, params):
    evaluation.run_probe(params)
    shutil.rmtree(TARGETS / "place")
    write_prepared(TARGETS / "place", name="place", labelled=False)
    with pytest.raises(UserError, match=r"targets.place has no labels"):
        evaluation.run_transfer(params)


def test_too_few_test_images_are_refused_before_the_work(workspace, params):
    write_prepared(PREPARED, test=5)
    with pytest.raises(UserError, match=r"has 5 test images, but the diagnostics need at least 8"):
        evaluation.run_probe(params)
    assert not FEATURES.exists()


def test_a_row_is_said_in_sentences(workspace, params, capsys):
    evaluation.run_probe(params)
    message = capsys.readouterr().out.strip().splitlines()
    assert len(message) == 1
    assert message[0].startswith("scenes: the linear probe is right for ")
    row = {"accuracy": 0.5, "accuracy_ci95": [0.4, 0.6], "knn_accuracy": 0.4, "majority": 0.1}
    warned = evaluation.describe_row(
        "hue", row | {"test_images": 9, "l2": 0.1, "l2_at_edge": True, "converged": False}
    )
    assert "0.1 is at the edge of probe.l2" in warned
    assert "ended at probe.max_iterations" in warned
