"""Naive float64 implementations written from the equations, with loops, sharing no code with the library."""

from __future__ import annotations

import math

import numpy as np


def nt_xent(z1, z2, temperature):
    z = [np.asarray(row, dtype=np.float64) for row in [*z1, *z2]]
    count = len(z1)
    losses = []
    for i in range(2 * count):
        partner = i + count if i < count else i - count
        similarity = {k: _cosine(z[i], z[k]) / temperature for k in range(2 * count) if k != i}
        normaliser = sum(math.exp(value) for value in similarity.values())
        losses.append(-math.log(math.exp(similarity[partner]) / normaliser))
    return sum(losses) / len(losses)


def _cosine(a, b):
    return float(sum(a * b) / (math.sqrt(sum(a * a)) * math.sqrt(sum(b * b))))


def mi_lower_bound(noisy, mean, rho):
    count = len(noisy)
    total = 0.0
    for k in range(count):
        scores = []
        for j in range(count):
            distance = sum((float(a) - float(b)) ** 2 for a, b in zip(noisy[k], mean[j], strict=True))
            scores.append(math.exp(-rho * distance))
        total += math.log(scores[k] / (sum(scores) / count))
    return total / count


def reconstruction_error(decoded, pixels):
    total, count = 0.0, 0
    for image, target in zip(decoded, pixels, strict=True):
        for a, b in zip(image.reshape(-1), target.reshape(-1), strict=True):
            total += (float(a) - float(b)) ** 2
            count += 1
    return total / count
