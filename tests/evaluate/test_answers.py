"""Tasks of several labels and of numbers: fits and scores against scikit-learn, intervals against loops."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, r2_score, root_mean_squared_error
from sklearn.multioutput import MultiOutputClassifier

from infocl.evaluate import bootstrap
from infocl.evaluate.answers import difference95, evaluate_labels, evaluate_numbers
from infocl.evaluate.knn import knn_average
from infocl.evaluate.linear import Problem, fit_linear
from infocl.prepared.tasks import check_numbers, judged_labels
from infocl.runtime.errors import UserError
from tests.workspace import tiny_params

CPU = torch.device("cpu")
N = 60


@pytest.fixture(scope="module")
def drawn():
    """Features of 200 images, of which some directions hold a number and three labels, with noise."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 12)) @ generator.normal(size=(12, 12))
    numbers = 40 + 3 * features[:, 0] - features[:, 3] + generator.normal(size=200)
    marks = (features[:, 1:4] + generator.normal(size=(200, 3)) > [0, 1, 2]).astype(np.int64)
    return features.astype(np.float32), numbers, marks


def test_several_labels_are_separate_logistic_regressions(drawn):
    features, _, marks = drawn
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    x = torch.from_numpy(standard.astype(np.float64))
    model = fit_linear(Problem.of(x, torch.from_numpy(marks.astype(np.float64)), 3), 0.01, 500)
    oracle = MultiOutputClassifier(LogisticRegression(C=1 / (len(x) * 0.01), tol=1e-10, max_iter=5000))
    for label, each in enumerate(oracle.fit(x.numpy(), marks).estimators_):
        np.testing.assert_allclose(model.weight[label].numpy(), each.coef_[0], rtol=1e-4, atol=1e-5)
        assert float(model.bias[label]) == pytest.approx(each.intercept_[0], abs=1e-4)


def samples(images):
    """The drawn rows of each resample, from its weights."""
    for weights in bootstrap.resample_weights(images):
        for row in weights.astype(int):
            yield np.repeat(np.arange(images), row)


def test_scores_of_resamples_are_scikit_learns_scores_of_their_rows(drawn, monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)
    monkeypatch.setattr(bootstrap, "ENTRIES", 7 * N)  # several chunks
    features, numbers, marks = (part[:N] for part in drawn)
    guessed = numbers + features[:, 5]
    scores = np.round(features[:, 1:4].astype(np.float64))  # many equal ones
    weights = np.concatenate(list(bootstrap.resample_weights(N)))
    assert (weights.sum(axis=1) == N).all()
    explained = bootstrap.r2_score(numbers, guessed, weights)
    errors = bootstrap.rmse(numbers, guessed, weights)
    precisions = bootstrap.mean_average_precision(marks, scores, weights)
    for number, rows in enumerate(samples(N)):
        assert explained[number] == pytest.approx(r2_score(numbers[rows], guessed[rows]), abs=1e-10)
        assert errors[number] == pytest.approx(root_mean_squared_error(numbers[rows], guessed[rows]))
        oracle = [average_precision_score(marks[rows, one], scores[rows, one]) for one in range(3)]
        assert precisions[number] == pytest.approx(np.mean(oracle), abs=1e-12)
    expected = np.quantile([r2_score(numbers[rows], guessed[rows]) for rows in samples(N)], (0.025, 0.975))
    found = bootstrap.bootstrap95(N, lambda drawn: bootstrap.r2_score(numbers, guessed, drawn))
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_the_interval_of_r2_covers_the_true_one_about_as_often_as_it_says():
    """Numbers with a known R² of 0.5, 200 times: 95 % of the intervals would hold it."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        guessed = generator.normal(size=150)
        numbers = guessed + generator.normal(size=150)
        low, high = bootstrap.bootstrap95(150, partial(bootstrap.r2_score, numbers, guessed))
        held += low <= 0.5 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_a_label_that_no_drawn_image_has_takes_no_part():
    truth = np.array([[1, 1], [0, 1], [0, 0]])
    weights = np.array([[0.0, 2, 1], [1, 1, 1]])
    scores = np.array([[3.0, 1], [2, 3], [1, 2]])
    found = bootstrap.label_precisions(truth, scores, weights)
    assert math.isnan(found[0, 0])
    assert bootstrap.mean_average_precision(truth, scores, weights)[0] == found[0, 1] == 1


def test_neighbours_answer_by_the_votes_that_classify():
    generator = torch.Generator().manual_seed(0)
    train, test, values = (torch.randn(size, generator=generator) for size in ((30, 4), (5, 4), (30, 2)))
    found = knn_average(train, values, test, 3, 0.5)
    unit = torch.nn.functional.normalize(train, dim=1)
    for row, query in enumerate(torch.nn.functional.normalize(test, dim=1)):
        cosine = unit @ query
        nearest = cosine.argsort(descending=True)[:3]
        votes = (cosine[nearest] / 0.5).exp()
        expected = (votes[:, None] * values[nearest]).sum(dim=0) / votes.sum()
        np.testing.assert_allclose(found[row].numpy(), expected.numpy(), rtol=1e-5)


def test_what_the_features_hold_is_found_and_what_they_lack_is_not(drawn):
    features, numbers, marks = drawn
    params, parts = tiny_params(probe__max_iterations=500).probe, (slice(None, 120), slice(120, None))
    train, test = (features[part] for part in parts)
    noise = np.random.default_rng(2).normal(size=(200, 12)).astype(np.float32)
    row, answers, _ = evaluate_numbers(train, numbers[parts[0]], test, numbers[parts[1]], params, 0, CPU)
    assert row["r2"] == pytest.approx(r2_score(numbers[parts[1]], answers))
    assert row["r2_ci95"][0] > 0.8 > row["knn_r2"] > row["chance"]
    assert row["rmse_ci95"][0] < row["rmse"] < row["rmse_ci95"][1] < row["chance_rmse"]
    known, truth = numbers[parts[0]], numbers[parts[1]]
    blind, guesses, _ = evaluate_numbers(noise[parts[0]], known, noise[parts[1]], truth, params, 0, CPU)
    assert blind["r2_ci95"][0] < 0.1
    gap, (low, high) = difference95("number", numbers[parts[1]], answers, guesses)
    assert gap == pytest.approx(row["r2"] - blind["r2"])
    assert 0 < low < gap < high
    row, *_ = evaluate_labels(train, marks[parts[0]], test, marks[parts[1]], params, 0, CPU)
    assert row["chance"] == pytest.approx(marks[parts[1]].mean())
    assert row["mean_average_precision_ci95"][0] > row["chance_ci95"][1]
    assert row["mean_average_precision"] == pytest.approx(np.mean(row["label_precisions"]))


def test_labels_that_cannot_be_judged_are_left_out_or_refused():
    train = np.array([[1, 0, 1], [1, 1, 1], [0, 0, 1], [0, 0, 1]] * 3)
    test = np.array([[1, 0, 1]] * 8)
    train[4:, 1] = 0
    assert judged_labels(train, test, "parts", ["a", "b", "c"]).tolist() == [True, False, False]
    with pytest.raises(UserError, match=r"none of which can be judged"):
        judged_labels(train[:, 1:], test[:, 1:], "parts", ["b", "c"])
    with pytest.raises(UserError, match="has 1 different numbers on 9 test images"):
        check_numbers(np.arange(9.0), np.ones(9), "parts")
