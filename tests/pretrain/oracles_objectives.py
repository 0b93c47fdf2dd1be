"""Naive float64 objectives written from the equations, with loops, sharing no code with the library."""

from __future__ import annotations

import math

import numpy as np


def cosine(a, b):
    return float(sum(a * b) / (math.sqrt(sum(a * a)) * math.sqrt(sum(b * b))))


def decoupled_nt_xent(z1, z2, temperature):
    z, count = [*z1, *z2], len(z1)
    total = 0.0
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = [k for k in range(2 * count) if k not in (i, partner)]
        negatives = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in others)
        total += math.log(negatives) - cosine(z[i], z[partner]) / temperature
    return total / (2 * count)


def byol(p1, p2, t1, t2):
    total = 0.0
    for a, b, c, d in zip(p1, t2, p2, t1, strict=True):
        total += sum((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2)
        total += sum((c / np.linalg.norm(c) - d / np.linalg.norm(d)) ** 2)
    return total / len(p1)


def simsiam(p1, p2, z1, z2):
    ways = [cosine(a, b) + cosine(c, d) for a, b, c, d in zip(p1, z2, p2, z1, strict=True)]
    return -0.5 * sum(ways) / len(ways)


def spectral(z1, z2):
    count = len(z1)
    together = sum(sum(a * b) for a, b in zip(z1, z2, strict=True)) / count
    apart = sum(sum(z1[i] * z2[j]) ** 2 for i in range(count) for j in range(count) if i != j)
    return apart / (count * (count - 1)) - 2 * together


def moco(q, k, temperature):
    total = 0.0
    for i in range(len(q)):
        scores = [math.exp(cosine(q[i], k[j]) / temperature) for j in range(len(k))]
        total -= math.log(scores[i] / sum(scores))
    return 2 * temperature * total / len(q)


def barlow_twins(z1, z2, off_diagonal, epsilon):
    count, dim = z1.shape
    total = 0.0
    for i in range(dim):
        for j in range(dim):
            a, b = z1[:, i] - sum(z1[:, i]) / count, z2[:, j] - sum(z2[:, j]) / count
            spread = math.sqrt(sum(a * a) / count + epsilon) * math.sqrt(sum(b * b) / count + epsilon)
            correlation = sum(a * b) / count / spread
            total += (1 - correlation) ** 2 if i == j else off_diagonal * correlation**2
    return total


def variance_hinge(z, epsilon):
    count, dim = z.shape
    total = 0.0
    for j in range(dim):
        mean = sum(z[:, j]) / count
        deviation = math.sqrt(sum((z[:, j] - mean) ** 2) / (count - 1) + epsilon)
        total += max(0.0, 1 - deviation)
    return total / dim


def covariance_penalty(z):
    count, dim = z.shape
    means = [sum(z[:, j]) / count for j in range(dim)]
    total = 0.0
    for i in range(dim):
        for j in range(dim):
            if i != j:
                total += (sum((z[:, i] - means[i]) * (z[:, j] - means[j])) / (count - 1)) ** 2
    return total / dim


def cross_entropy(logits, labels, smoothing):
    total, classes = 0.0, len(logits[0])
    for row, label in zip(logits, labels, strict=True):
        normaliser = math.log(sum(math.exp(value) for value in row))
        for k in range(classes):
            wanted = smoothing / classes + (1 - smoothing if k == label else 0)
            total += wanted * (normaliser - row[k])
    return total / len(labels)
