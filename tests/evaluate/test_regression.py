"""Ridge regression, and the statistics of the audit, against scikit-learn, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from infocl.audit.audit import DRAWS, STRENGTHS, interval95, resamples
from infocl.evaluate.regression import fit_ridge, r2, ridge_weights

CPU = torch.device("cpu")


def planted(images=120, dim=9, targets=2, noise=1.0, seed=0):
    """Correlated features of various scales, and targets that are linear in them but for noise."""
    draw = np.random.default_rng(seed)
    features = (
        draw.normal(size=(images, dim)) @ draw.normal(size=(dim, dim)) * 10.0 ** draw.uniform(-2, 2, dim)
    )
    told = StandardScaler().fit_transform(features) @ draw.normal(size=(dim, targets))
    return features, told + noise * draw.normal(size=told.shape)


def test_every_strength_is_scikit_learns_ridge():
    features, targets = planted()
    features, targets = StandardScaler().fit_transform(features), targets - targets.mean(0)
    found = ridge_weights(*map(torch.from_numpy, (features, targets)), STRENGTHS)
    for l2, weight in zip(STRENGTHS, found, strict=True):
        expected = Ridge(alpha=l2 * len(features), fit_intercept=False, solver="svd").fit(features, targets)
        np.testing.assert_allclose(weight.T, expected.coef_, rtol=1e-7, atol=1e-9)


def test_the_strength_is_chosen_on_the_validation_images_and_all_images_are_fitted_with_it():
    features, targets = planted(images=60, dim=40, noise=6.0)
    validation = np.arange(60) % 5 == 0
    scores = {}
    for l2 in STRENGTHS:
        scaler = StandardScaler().fit(features[~validation])
        model = Ridge(alpha=l2 * (~validation).sum()).fit(
            scaler.transform(features[~validation]), targets[~validation]
        )
        predicted = model.predict(scaler.transform(features[validation]))
        scores[l2] = r2_score(targets[validation], predicted, multioutput="variance_weighted")
    best = max(scores, key=scores.get)
    assert STRENGTHS[0] < best < STRENGTHS[-1]
    scaler = StandardScaler().fit(features)
    expected = Ridge(alpha=best * len(features)).fit(scaler.transform(features), targets)
    probe = fit_ridge(*map(torch.from_numpy, (features, targets, validation)), STRENGTHS)
    assert probe.l2 == best
    assert not probe.at_edge
    new = planted(images=30, dim=40, seed=3)[0]
    found = probe.predict(torch.from_numpy(new))
    np.testing.assert_allclose(found, expected.predict(scaler.transform(new)), rtol=1e-7, atol=1e-9)


def test_of_features_that_tell_nothing_the_mean_is_told():
    targets = torch.from_numpy(planted()[1])
    probe = fit_ridge(torch.ones(120, 4), targets, torch.arange(120) % 4 == 0, STRENGTHS)
    assert torch.allclose(probe.predict(torch.ones(3, 4)), targets.mean(0).expand(3, 2))
    assert float(r2(probe.predict(torch.ones(120, 4)), targets)) == pytest.approx(0, abs=1e-12)


def test_r2_is_scikit_learns_with_and_without_weights():
    targets = planted()[1] * [1, 30]
    predicted = targets + np.random.default_rng(1).normal(size=targets.shape) * [0.5, 20]
    both = torch.from_numpy(predicted), torch.from_numpy(targets)
    assert float(r2(*both)) == pytest.approx(r2_score(targets, predicted, multioutput="variance_weighted"))
    assert float(r2(both[1].mean(0).expand(120, 2), both[1])) == pytest.approx(0, abs=1e-12)
    weights = resamples(120, 5, CPU)
    assert weights.shape == (DRAWS, 120)
    assert (weights.sum(1) == 120).all()
    found = r2(*both, weights)
    for row in (0, 7, DRAWS - 1):
        drawn = np.repeat(np.arange(120), weights[row].int().numpy())
        expected = r2_score(targets[drawn], predicted[drawn], multioutput="variance_weighted")
        assert float(found[row]) == pytest.approx(expected)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    """Of 100 samples of a population whose R2 is 0.75."""
    draw = np.random.default_rng(0)
    held = 0
    for sample in range(100):
        told = draw.normal(size=(100, 1))
        targets = torch.from_numpy(told + draw.normal(size=(100, 1)) / np.sqrt(3))
        low, high = interval95(r2(torch.from_numpy(told), targets, resamples(100, sample, CPU)))
        held += low <= 0.75 <= high
    assert 0.88 <= held / 100 <= 0.99
