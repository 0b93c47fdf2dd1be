"""Label efficiency: draws of labels, fits against scikit-learn's, and what few labels give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from infocl.config import LabelEfficiencyParams
from infocl.evaluate.efficiency import fit_draws, label_efficiency, shuffled_by_class, sizes_of

PARAMS = LabelEfficiencyParams(per_class=[1, 5, 500], shares=[0.1], draws=6)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def drawn():
    """Features of three classes, of unequal size, and their labels 2, 5 and 9; for training and test."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 10))
    codes = np.repeat([0, 1, 2], [30, 60, 110])
    return [
        ((centres[codes] + generator.normal(size=(200, 10))).astype(np.float32), np.array([2, 5, 9])[codes])
        for _ in range(2)
    ]


def test_sizes_are_ordered_and_none_takes_every_image():
    sizes = list(sizes_of(np.array([3, 60, 110]), PARAMS))
    assert [size.name for size in sizes] == ["1 a class", "5 a class", "10 %"]
    assert [size.counts.tolist() for size in sizes] == [[1, 1, 1], [3, 5, 5], [1, 6, 11]]


def test_each_draw_holds_every_row_once_class_by_class_in_an_order_of_its_own(drawn):
    labels = drawn[0][1]
    order = shuffled_by_class(labels, 20, 0)
    assert (np.sort(order, axis=1) == np.arange(200)).all()
    assert (np.diff(labels[order], axis=1) >= 0).all()
    assert len(np.unique(order[:, 0])) > 10


@pytest.mark.parametrize("images", [6, 60])  # fewer and more than features
def test_the_fits_are_scikit_learns(drawn, images):
    generator = np.random.default_rng(1)
    labels = np.arange(images) % 3
    features = generator.normal(size=(2, images, 10)) + labels[:, None] / 2
    weight, bias = fit_draws(torch.from_numpy(features), torch.from_numpy(labels), 3)
    for draw in range(2):
        oracle = LogisticRegression(C=1, tol=1e-10, max_iter=5000).fit(features[draw], labels)
        np.testing.assert_allclose(weight[draw].numpy(), oracle.coef_, atol=1e-3)
        centred = bias[draw] - bias[draw].mean()
        np.testing.assert_allclose(centred.numpy(), oracle.intercept_ - oracle.intercept_.mean(), atol=1e-3)


def test_accuracies_are_those_of_separate_fits_and_rise_with_the_labels(drawn):
    (train, labels), (test, truth) = drawn
    rows = label_efficiency(train, labels, test, truth, PARAMS, 3, CPU)
    assert [row["images"] for row in rows] == [3, 15, 20]
    scaler = StandardScaler().fit(train)
    order = shuffled_by_class(np.searchsorted([2, 5, 9], labels), 6, 3)
    taken = [0, 1, 2, 3, 4, 30, 31, 32, 33, 34, 90, 91, 92, 93, 94]
    accuracies = []
    for draw in order:
        chosen = draw[taken]
        oracle = LogisticRegression(C=1, tol=1e-8, max_iter=5000).fit(
            scaler.transform(train[chosen]), labels[chosen]
        )
        accuracies.append(oracle.score(scaler.transform(test), truth))
    assert rows[1]["accuracy"] == pytest.approx(np.mean(accuracies), abs=2e-3)
    expected = stats.t.interval(0.95, 5, np.mean(accuracies), stats.sem(accuracies))
    np.testing.assert_allclose(rows[1]["ci95"], expected, atol=3e-3)
    assert rows[0]["accuracy"] < rows[2]["accuracy"]
    assert label_efficiency(train, labels, test, truth, PARAMS.model_copy(update={"draws": 0}), 3, CPU) == []
