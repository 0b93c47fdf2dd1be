"""Planted problems whose answer is known."""

from __future__ import annotations

import numpy as np

from infocl.config import ProbeParams

GRID = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]


def probe_params(**changes):
    defaults = {
        "l2": GRID,
        "validation_share": 0.2,
        "max_iterations": 200,
        "knn_k": 20,
        "knn_temperature": 0.07,
        "label_efficiency": {"per_class": [], "shares": [], "draws": 0},
    }
    return ProbeParams(**(defaults | changes))


def blobs(images, *, classes=3, dim=8, spread=1.5, seed=0, centers=0):
    """Gaussian classes with a common, correlated covariance; features float32 (N, D), labels (N,)."""
    mixing = np.random.default_rng(centers)
    means = mixing.normal(size=(classes, dim))
    mix = mixing.normal(size=(dim, dim)) / np.sqrt(dim)
    draw = np.random.default_rng(seed + 1000)
    labels = draw.integers(classes, size=images)
    features = means[labels] + spread * draw.normal(size=(images, dim)) @ mix
    return features.astype(np.float32), labels


def two_gaussians(images, *, distance=2.0, dim=16, seed=0):
    """Two spherical Gaussians, equally frequent; no classifier beats Phi(distance / 2)."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(images) % 2)
    features = draw.normal(size=(images, dim))
    features[:, 0] += distance * labels
    rotation = np.linalg.qr(np.random.default_rng(7).normal(size=(dim, dim)))[0]
    return (features @ rotation).astype(np.float32), labels
