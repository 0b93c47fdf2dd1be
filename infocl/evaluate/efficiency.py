"""Label efficiency: how well a task is read from a few labels, over several draws of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import t as student
from torch import Tensor

from infocl.config import LabelEfficiencyParams
from infocl.evaluate.linear import curvature_factor, minimise
from infocl.evaluate.scaling import fit_scaling
from infocl.evaluate.stored import Features

Labels = npt.NDArray[np.int64]
ENTRIES = 1 << 24  # of the features of the draws that are fitted together: 128 MiB
MAX_ITERATIONS = 100
TOLERANCE = 1e-5  # nats by unit of a preconditioned coordinate; no answer changes below


class Size(NamedTuple):
    """How many labels are drawn: of each class so many, or a share of it, at least one."""

    name: str
    counts: Labels


def sizes_of(counts: Labels, params: LabelEfficiencyParams) -> Iterator[Size]:
    """The sizes that leave out some of the training images, from few to many.

    Args:
        counts: training images of each class, (C,).
        params: classes with fewer images than asked for give all.
    """
    each = [Size(f"{k} a class", np.minimum(k, counts)) for k in params.per_class]
    shares = [
        Size(f"{100 * share:g} %", np.maximum(1, np.rint(share * counts)).astype(np.int64))
        for share in params.shares
    ]
    found = [size for size in (*each, *shares) if size.counts.sum() < counts.sum()]
    yield from sorted(found, key=lambda size: int(size.counts.sum()))


def shuffled_by_class(codes: Labels, draws: int, seed: int) -> Labels:
    """Rows (draws, N) ordered by class, those of each class in a random order of its own for each draw."""
    keys = np.random.default_rng(seed).random((draws, len(codes)))
    order: Labels = np.lexsort((keys, np.broadcast_to(codes, keys.shape)), axis=-1)
    return order


def label_efficiency(
    train_features: Features,
    train_labels: Labels,
    test_features: Features,
    test_labels: Labels,
    params: LabelEfficiencyParams,
    seed: int,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Accuracy of a linear probe that is given a few labels, for each size.

    Features are standardised by all training images, which takes no labels. Nothing is chosen: the penalty
    on n images is 1 / n, scikit-learn's C = 1.

    Args:
        train_features: unstandardised, (N, D).
        train_labels: (N,), any integers.
        test_features: (M, D).
        test_labels: (M,).
        params: sizes and draws; no draws give no rows.
        seed: of the draws.
        device: where to compute.

    Returns:
        Rows of `labels` (such as "5 a class"), `images` drawn, mean `accuracy` over the draws, and `ci95`,
        Student's interval of that mean over the draws of labels, within 0..1.
    """
    if not params.draws:
        return []
    known, codes = np.unique(train_labels, return_inverse=True)
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    order = shuffled_by_class(codes, params.draws, seed)
    train = torch.from_numpy(train_features).to(device)
    scaling = fit_scaling(train)
    test, truth = (
        scaling(torch.from_numpy(test_features).to(device)),
        torch.from_numpy(test_labels).to(device),
    )
    names = torch.from_numpy(known).to(device)
    rows = []
    for size in sizes_of(counts, params):
        taken = np.concatenate(
            [start + np.arange(count) for start, count in zip(starts, size.counts, strict=True)]
        )
        drawn = torch.from_numpy(order[:, taken]).to(device)  # (R, n)
        labels = torch.from_numpy(codes[order[0, taken]]).to(device)  # (n,), the same classes in each draw
        accuracies = _accuracies(scaling, train, drawn, labels, test, truth, names)
        rows.append({"labels": size.name, "images": len(taken), **_mean(accuracies)})
    return rows


def _accuracies(
    scaling: Any, train: Tensor, drawn: Tensor, labels: Tensor, test: Tensor, truth: Tensor, names: Tensor
) -> npt.NDArray[np.float64]:
    """The accuracy of each draw, (R,)."""
    at_once = max(1, ENTRIES // (drawn.shape[1] * train.shape[1]))
    found = []
    for rows in torch.split(drawn, at_once):
        features = scaling(train[rows.flatten()]).view(*rows.shape, -1)
        weight, bias = fit_draws(features, labels, len(names))
        for one, offset in zip(weight, bias, strict=True):  # all at once would take R x M x C
            answers = names[(test @ one.T + offset).argmax(dim=1)]
            found.append(float((answers == truth).double().mean()))
    return np.array(found)


def fit_draws(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regressions of several draws at once, as `fit_linear` with an l2 of 1 / n.

    Args:
        features: standardised, float64 (R, n, D).
        labels: int64 (n,) in 0..C-1, those of every draw.
        classes: C.

    Returns:
        Weights (R, C, D) and biases (R, C).
    """
    images, width = features.shape[1:]
    if images < width:  # weights lie in the span of the images: as many numbers do
        basis, small = torch.linalg.qr(features.transpose(1, 2))
        weight, bias = _minimum(small.transpose(1, 2), labels, classes)
        turned: Tensor = weight @ basis.transpose(1, 2)
        return turned, bias
    return _minimum(features, labels, classes)


def _minimum(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    draws, images, width = features.shape
    l2 = 1 / images
    covariance = features.transpose(1, 2) @ features / images
    inverse = torch.linalg.solve_triangular(
        curvature_factor(covariance, l2), torch.eye(width).to(features).expand(draws, -1, -1), upper=False
    )
    point = features.new_zeros(draws, classes, width).requires_grad_()
    bias = features.new_zeros(draws, classes).requires_grad_()

    def loss() -> Tensor:
        weight = point @ inverse
        logits = weight @ features.transpose(1, 2) + bias[..., None]  # (R, C, n)
        right = logits.log_softmax(dim=1).gather(1, labels.expand(draws, 1, -1))
        value: Tensor = 0.5 * l2 * weight.square().sum() - right.sum() / images
        return value

    minimise(loss, [point, bias], MAX_ITERATIONS, TOLERANCE)
    weight: Tensor = (point @ inverse).detach()
    return weight, bias.detach()


def _mean(accuracies: npt.NDArray[np.float64]) -> dict[str, Any]:
    mean, draws = float(accuracies.mean()), len(accuracies)
    if draws == 1:
        return {"accuracy": mean, "ci95": None}
    half = float(student.ppf(0.975, draws - 1) * accuracies.std(ddof=1) / math.sqrt(draws))
    return {"accuracy": mean, "ci95": [max(0.0, mean - half), min(1.0, mean + half)]}
