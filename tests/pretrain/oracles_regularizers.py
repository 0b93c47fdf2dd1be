"""Naive float64 implementations of the regularisers, written from the equations with loops."""

from __future__ import annotations

import math

import numpy as np


def relative_distance(h1, h2):
    every = [*h1, *h2]
    center = [sum(row[k] for row in every) / len(every) for k in range(len(every[0]))]
    spread = sum(_squared_distance(row, center) for row in every) / len(every)
    apart = sum(_squared_distance(a, b) for a, b in zip(h1, h2, strict=True)) / len(h1)
    return apart / (2 * spread)


def mean_squared_difference(h1, h2):
    return sum(_squared_distance(a, b) for a, b in zip(h1, h2, strict=True)) / (len(h1) * len(h1[0]))


def symmetrised_kl(mu1, mu2, sigma):
    """By the general formula for Gaussians with diagonal covariance, dimension by dimension, both ways."""
    total = 0.0
    for a, b in zip(mu1, mu2, strict=True):
        for p, q in ((a, b), (b, a)):
            for mean_p, mean_q in zip(p, q, strict=True):
                variance_p = variance_q = sigma**2
                ratio = variance_p / variance_q
                total += 0.25 * (ratio - 1 - math.log(ratio) + (mean_p - mean_q) ** 2 / variance_q)
    return total / len(mu1)


def mixed_correlation_error(z1, z2, mixed, order, share, epsilon=1e-5):
    first, second, blend = (_standardised(z, epsilon) for z in (z1, z2, mixed))
    count, dim = len(first), len(first[0])
    permuted = [second[k] for k in order]
    total = 0.0
    for other in (first, second):
        for i in range(dim):
            for j in range(dim):
                got = sum(blend[n][i] * other[n][j] for n in range(count)) / count
                own = sum(first[n][i] * other[n][j] for n in range(count)) / count
                foreign = sum(permuted[n][i] * other[n][j] for n in range(count)) / count
                total += (got - share * own - (1 - share) * foreign) ** 2
    return total


def stein_score(z, temperature, ridge):
    """Stein's identity on the sphere, with the kernel's gradient taken by central differences."""
    z = np.asarray(z, dtype=np.float64)
    count, dim = z.shape
    kernel = np.empty((count, count))
    right = np.zeros((count, dim))
    for i in range(count):
        for j in range(count):
            kernel[i, j] = math.exp(_dot(z[i], z[j]) / temperature)
            gradient = np.empty(dim)
            for k in range(dim):
                step = np.zeros(dim)
                step[k] = 1e-6
                above = math.exp(_dot(z[i], z[j] + step) / temperature)
                below = math.exp(_dot(z[i], z[j] - step) / temperature)
                gradient[k] = (above - below) / 2e-6
            along = gradient - _dot(gradient, z[j]) * z[j]
            right[i] += along - (dim - 1) * kernel[i, j] * z[j]
    score = -np.linalg.solve(kernel + ridge * np.eye(count), right)
    return np.stack([s - _dot(s, x) * x for s, x in zip(score, z, strict=True)])


def log_potential(embedding):
    unit = [np.asarray(row) / math.sqrt(_dot(row, row)) for row in embedding]
    values = [math.exp(-2 * _squared_distance(unit[i], unit[j])) for i in range(len(unit)) for j in range(i)]
    return math.log(sum(values) / len(values))


def augmentation_differences(first, second, jitter):
    """Of two views, each as left, top, width, height (shares of the side), mirrored, and four strengths."""
    (left1, top1, width1, height1, mirrored1, *color1), (left2, top2, width2, height2, mirrored2, *color2) = (
        first,
        second,
    )
    x1, x2 = left1 + width1 / 2, left2 + width2 / 2
    if mirrored1:
        x1, x2 = 1 - x1, 1 - x2
    crop = [x1 - x2, top1 + height1 / 2 - top2 - height2 / 2, width1 - width2, height1 - height2]
    means = (1, 1, 1, 0)
    positions = [
        [(value - mean) / (2 * strength) for value, mean, strength in zip(color, means, jitter, strict=True)]
        for color in (color1, color2)
    ]
    return crop, [a - b for a, b in zip(*positions, strict=True)], [float(mirrored1 == mirrored2)]


def difference_error(predicted, difference):
    cells = [
        (math.tanh(p) - d) ** 2
        for row, other in zip(predicted, difference, strict=True)
        for p, d in zip(row, other, strict=True)
    ]
    return sum(cells) / len(cells)


def flip_error(predicted, flip):
    total = 0.0
    for (log_odds,), (same,) in zip(predicted, flip, strict=True):
        probability = 1 / (1 + math.exp(-log_odds))
        total -= math.log(probability if same else 1 - probability)
    return total / len(flip)


def value_bound(predicted, values, rhos):
    total, count = 0.0, len(values)
    for c, rho in enumerate(rhos):
        for k in range(count):
            scores = [math.exp(-rho * (predicted[k][c] - values[j][c]) ** 2) for j in range(count)]
            total += math.log(scores[k] / (sum(scores) / count))
    return total / (count * len(rhos))


def coarse_colors(views, grid, epsilon=1e-5):
    """Luma, red less green, and both less blue, of each area of each view, each standardised over all."""
    colors = [[], [], []]
    for view in views:
        side = len(view[0]) // grid
        for place in range(grid * grid):
            rows = [place // grid * side + i for i in range(side)]
            columns = [place % grid * side + i for i in range(side)]
            red, green, blue = (
                sum(channel[i][j] for i in rows for j in columns) / side**2 for channel in view
            )
            colors[0].append((red + green + blue) / math.sqrt(3))
            colors[1].append((red - green) / math.sqrt(2))
            colors[2].append((red + green - 2 * blue) / math.sqrt(6))
    for number, column in enumerate(colors):
        mean = sum(column) / len(column)
        variance = sum((x - mean) ** 2 for x in column) / len(column)
        colors[number] = [(x - mean) / math.sqrt(variance + epsilon) for x in column]
    places = grid * grid
    return [
        [x for column in colors for x in column[n * places : (n + 1) * places]] for n in range(len(views))
    ]


def _standardised(z, epsilon):
    count, dim = len(z), len(z[0])
    columns = []
    for k in range(dim):
        mean = sum(row[k] for row in z) / count
        variance = sum((row[k] - mean) ** 2 for row in z) / count
        columns.append([(row[k] - mean) / math.sqrt(variance + epsilon) for row in z])
    return [[columns[k][n] for k in range(dim)] for n in range(count)]


def _squared_distance(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


def _dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
