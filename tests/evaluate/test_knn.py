"""Nearest neighbours against a double loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from infocl.evaluate import knn
from tests.evaluate.planted import blobs


def naive(train, labels, test, classes, k, temperature):
    answers = []
    for x in test:
        cosines = []
        for row, label in zip(train, labels, strict=True):
            cosine = float(row @ x) / math.sqrt(float(row @ row) * float(x @ x))
            cosines.append((cosine, label))
        votes = [0.0] * classes
        for cosine, label in sorted(cosines, reverse=True)[:k]:
            votes[label] += math.exp(cosine / temperature)
        answers.append(votes.index(max(votes)))
    return answers


def problem():
    features, labels = blobs(130, dim=5, spread=1.2)
    return features[:90].astype(np.float64), labels[:90], features[90:].astype(np.float64)


def ours(train, labels, test, classes, k, temperature):
    tensors = (torch.from_numpy(part) for part in (train, labels, test))
    return knn.knn_predict(*tensors, classes, k, temperature).tolist()


@pytest.mark.parametrize("k", [1, 7, 90, 10_000])
@pytest.mark.parametrize("temperature", [0.07, 1.0, 50.0])
def test_a_double_loop_agrees(k, temperature):
    assert ours(*problem(), 3, k, temperature) == naive(*problem(), 3, k, temperature)


def test_chunks_change_nothing(monkeypatch):
    whole = ours(*problem(), 3, 7, 0.07)
    monkeypatch.setattr(knn, "ENTRIES", 250)
    assert ours(*problem(), 3, 7, 0.07) == whole


@pytest.mark.parametrize("k", [1, 7, 60, 90])
def test_training_images_in_tiles_change_nothing(monkeypatch, k):
    """A tile may hold fewer than k images."""
    train, _, test = (torch.from_numpy(part) for part in problem())
    whole, answers = knn.knn_average(train, train, test, k, 0.07), ours(*problem(), 3, k, 0.07)
    monkeypatch.setattr(knn, "TILE", 40)
    assert ours(*problem(), 3, k, 0.07) == answers == naive(*problem(), 3, k, 0.07)
    torch.testing.assert_close(knn.knn_average(train, train, test, k, 0.07), whole, rtol=0, atol=1e-5)


def test_a_tiny_temperature_is_the_nearest_neighbour():
    train, labels, test = problem()
    assert ours(train, labels, test, 3, 30, 1e-6) == ours(train, labels, test, 3, 1, 1.0)


def test_the_length_of_a_feature_vector_does_not_matter():
    train, labels, test = problem()
    longer = train * np.linspace(0.01, 100, len(train))[:, None]
    assert ours(longer, labels, test * 1e3, 3, 7, 0.07) == ours(train, labels, test, 3, 7, 0.07)
