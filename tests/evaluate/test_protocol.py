"""The protocol: known Bayes accuracy, a test set that is read once, bad input named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from infocl.evaluate.protocol import evaluate_task, mean_accuracy
from infocl.evaluate.wilson import wilson95
from infocl.prepared.tasks import check_source
from infocl.runtime.errors import InfoCLError, UserError
from tests.evaluate.planted import blobs, probe_params, two_gaussians

CPU = torch.device("cpu")


def task(train=400, test=200, **kind):
    features, labels = blobs(train + test, **kind)
    return features[:train], labels[:train], features[train:], labels[train:]


def evaluate(train, train_labels, test, test_labels, seed=0, name="planted", **params):
    return evaluate_task(train, train_labels, test, test_labels, probe_params(**params), seed, CPU, name).row


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_two_gaussians_are_told_apart_as_well_as_possible(distance):
    features, labels = two_gaussians(8000, distance=distance)
    row = evaluate(features[:3000], labels[:3000], features[3000:], labels[3000:])
    bayes = 0.5 * (1 + math.erf(distance / 2 / math.sqrt(2)))
    assert row["accuracy"] == pytest.approx(bayes, abs=0.02)
    assert row["validation_accuracy"] == pytest.approx(bayes, abs=0.05)
    assert row["knn_accuracy"] == pytest.approx(bayes, abs=0.06)
    low, high = row["accuracy_ci95"]
    assert low < row["accuracy"] < high
    assert (row["classes"], row["train_images"], row["test_images"]) == (2, 3000, 5000)


def test_labels_without_any_signal_give_chance():
    features, _ = blobs(3000, classes=2)
    labels = np.random.default_rng(1).integers(2, size=3000)
    row = evaluate(features[:1000], labels[:1000], features[1000:], labels[1000:])
    assert row["accuracy"] == pytest.approx(0.5, abs=0.04)


def test_test_labels_decide_nothing_but_the_counts():
    train, train_labels, test, test_labels = task(dim=40, spread=5.0)
    row = evaluate(train, train_labels, test, test_labels)
    wrong = evaluate(train, train_labels, test, (test_labels + 1) % 3)
    for key in ("l2", "l2_at_edge", "validation_accuracy", "converged"):
        assert row[key] == wrong[key]
    assert row["accuracy"] != wrong["accuracy"]


def test_test_features_decide_nothing_about_others():
    """Half of the test set, judged alone, gets the answers that it got within the whole."""
    train, train_labels, test, test_labels = task(dim=40, spread=5.0)
    whole = evaluate(train, train_labels, test, test_labels)
    halves = [
        evaluate(train, train_labels, test[part], test_labels[part])
        for part in (slice(100), slice(100, None))
    ]
    for key in ("accuracy", "knn_accuracy"):
        assert whole[key] == pytest.approx((halves[0][key] + halves[1][key]) / 2, abs=1e-12)


def test_the_same_numbers_twice_and_another_split_by_another_seed():
    data = task(dim=40, spread=5.0)
    assert evaluate(*data) == evaluate(*data)
    assert len({evaluate(*data, seed=seed)["validation_accuracy"] for seed in range(4)}) > 1


def test_labels_may_be_any_integers():
    train, train_labels, test, test_labels = task()
    row = evaluate(train, train_labels, test, test_labels)
    assert evaluate(train, 7 * train_labels - 3, test, 7 * test_labels - 3) == row


def test_majority_is_of_the_training_classes():
    train, _, test, _ = task(train=10, test=8)
    train_labels = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 0])
    test_labels = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    row = evaluate(train, train_labels, test, test_labels, validation_share=0.5)
    assert row["majority"] == 2 / 8


@pytest.mark.parametrize(("right", "images"), [(0, 20), (7, 20), (1400, 1500), (1500, 1500)])
def test_wilson_interval_is_its_closed_form(right, images):
    z, p = 1.959963984540054, right / images
    center = (p + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * math.sqrt(p * (1 - p) / images + z**2 / (4 * images**2))
    low, high = wilson95(right, images)
    assert low == pytest.approx(max(0.0, center - half), abs=1e-12)
    assert high == pytest.approx(min(1.0, center + half), abs=1e-12)


def test_the_mean_of_one_task_is_that_task():
    row = {"accuracy": 0.7, "accuracy_ci95": [0.6, 0.75], "knn_accuracy": 0.5}
    mean = mean_accuracy([row])
    assert mean["mean_accuracy"] == pytest.approx(0.7)
    assert mean["mean_accuracy_ci95"] == pytest.approx([0.6, 0.75])
    assert mean["mean_knn_accuracy"] == pytest.approx(0.5)


def test_the_interval_of_the_mean_covers_the_truth_as_often_as_it_says():
    truth, images = np.array([0.6, 0.9, 0.97]), np.array([100, 200, 300])
    draws = np.random.default_rng(0).binomial(images, truth, size=(1000, 3))
    covered = 0
    for draw in draws:
        rows = [
            {"accuracy": right / n, "accuracy_ci95": wilson95(right, n), "knn_accuracy": 0.0}
            for right, n in zip(draw, images, strict=True)
        ]
        low, high = mean_accuracy(rows)["mean_accuracy_ci95"]
        covered += low <= truth.mean() <= high
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("train_labels", "test_labels", "message"),
    [
        (np.zeros(10), np.zeros(4), "planted has 10 training images of 1 class"),
        (np.array([0] * 9 + [5]), np.zeros(4), "planted has a single training image of class 5"),
        (np.arange(10) % 3, np.zeros(4), r"planted has 10 training images of 3 classes, .*validation_share"),
        (np.arange(10) % 2, np.array([0, 1, 1, 4]), "planted has test images of class 4"),
    ],
)
def test_labels_that_make_no_task_are_named(train_labels, test_labels, message):
    train, _, test, _ = task(train=10, test=4)
    with pytest.raises(UserError, match=message):
        evaluate(train, train_labels.astype(int), test, test_labels.astype(int))


def test_classes_are_named_where_their_names_are_known():
    single, known = np.array([0] * 9 + [2]), np.array([0, 1])
    names = ["ant", "bee", "cat"]
    with pytest.raises(UserError, match="a single training image of class cat;"):
        check_source(single, single, 10, 0.5, "planted", names)
    with pytest.raises(UserError, match="test images of class cat, of which"):
        check_source(np.arange(10) % 2, np.append(known, 2), 10, 0.5, "planted", names)
    train, _, test, _ = task(train=10, test=4)
    for labels, test_labels in ((single, np.zeros(4, int)), (np.arange(10) % 2, np.array([0, 1, 1, 2]))):
        with pytest.raises(UserError, match="of class cat"):
            evaluate_task(train, labels, test, test_labels, probe_params(), 0, CPU, "planted", names)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("split", [0, 2])
def test_features_that_are_not_finite_are_refused(bad, split):
    data = list(task())
    data[split][3, 1] = bad
    with pytest.raises(InfoCLError, match="planted gives NaN or infinite features for 1 of"):
        evaluate(*data)
