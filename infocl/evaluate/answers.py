"""The protocol for tasks of several labels and of numbers: test set read once, intervals by bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from infocl.config import ProbeParams, TaskKind
from infocl.evaluate.bootstrap import (
    Array,
    bootstrap95,
    label_precisions,
    mean_average_precision,
    r2_score,
    rmse,
)
from infocl.evaluate.features import require_finite
from infocl.evaluate.knn import knn_average
from infocl.evaluate.multilabel import fit_labels
from infocl.evaluate.protocol import Judged
from infocl.evaluate.regression import fit_ridge
from infocl.evaluate.stored import Features

Score = Callable[[npt.NDArray[Any], Array, Array], Array]
SCORES: dict[TaskKind, Score] = {"labels": mean_average_precision, "number": r2_score}


def evaluate_numbers(
    train_features: Features,
    train_numbers: Array,
    test_features: Features,
    test_numbers: Array,
    params: ProbeParams,
    seed: int,
    device: torch.device,
    name: str = "the data set",
) -> Judged:
    """Judge features by how well a number can be read from them.

    Args:
        train_features: unstandardised, (N, D).
        train_numbers: (N,).
        test_features: (M, D).
        test_numbers: (M,); used for nothing but the final score.
        params: the block `probe`.
        seed: of the validation split.
        device: where to compute.
        name: of the data set, for messages.

    Returns:
        A row with `r2` of a ridge regression and `r2_ci95`, `rmse` and `rmse_ci95` (in the unit of the
        numbers), `knn_r2`, `chance` (R² of always answering the training mean) and `chance_rmse`, the
        chosen `l2`, `validation_r2` and `l2_at_edge`; and the numbers predicted for the test images.

    Raises:
        InfoCLError: a feature is NaN or infinite.
    """
    train, test = _on_device(train_features, test_features, device, name)
    probe = fit_ridge(train, train_numbers, params, seed)
    predicted = probe.predict(test)
    near = knn_average(
        probe.scaling.single(train),
        torch.from_numpy(train_numbers[:, None]).to(device),
        probe.scaling(test),
        params.knn_k,
        params.knn_temperature,
    )
    neighbours, mean = near[:, 0].cpu().numpy(), np.full(len(test_numbers), train_numbers.mean())
    alike, images = np.ones((1, len(test_numbers))), len(test_numbers)
    row = {
        "kind": "number",
        "r2": float(r2_score(test_numbers, predicted, alike)[0]),
        "r2_ci95": bootstrap95(images, partial(r2_score, test_numbers, predicted)),
        "rmse": float(rmse(test_numbers, predicted, alike)[0]),
        "rmse_ci95": bootstrap95(images, partial(rmse, test_numbers, predicted)),
        "knn_r2": float(r2_score(test_numbers, neighbours, alike)[0]),
        "chance": float(r2_score(test_numbers, mean, alike)[0]),
        "chance_ci95": bootstrap95(images, partial(r2_score, test_numbers, mean)),
        "chance_rmse": float(rmse(test_numbers, mean, alike)[0]),
        "l2": probe.l2,
        "l2_at_edge": probe.at_edge,
        "validation_r2": probe.validation_r2,
        "converged": True,
        "classes": 0,
        "train_images": len(train_numbers),
        "test_images": images,
    }
    return Judged(row, predicted)


def evaluate_labels(
    train_features: Features,
    train_marks: npt.NDArray[np.int64],
    test_features: Features,
    test_marks: npt.NDArray[np.int64],
    params: ProbeParams,
    seed: int,
    device: torch.device,
    name: str = "the data set",
) -> Judged:
    """Judge features by how well several labels, each there or not, can be read from them.

    Args:
        train_features: unstandardised, (N, D).
        train_marks: (N, C), 1 where an image has a label.
        test_features: (M, D).
        test_marks: (M, C); used for nothing but the final score.
        params: the block `probe`.
        seed: of the validation split.
        device: where to compute.
        name: of the data set, for messages.

    Returns:
        A row with the `mean_average_precision` of logistic regressions over the labels and its interval,
        that of each label (`label_precisions`), `knn_mean_average_precision`, `chance` (of a ranking at
        random: the mean share of images with a label), and `l2` and the like as in `evaluate_task`; and
        the log-odds of the test images, (M, C).

    Raises:
        InfoCLError: a feature is NaN or infinite.
    """
    train, test = _on_device(train_features, test_features, device, name)
    probe = fit_labels(train, train_marks, params, seed)
    found = probe.scores(test)
    near = knn_average(
        probe.scaling.single(train),
        torch.from_numpy(train_marks).to(device),
        probe.scaling(test),
        params.knn_k,
        params.knn_temperature,
    )
    alike, images = np.ones((1, len(test_marks))), len(test_marks)
    row = {
        "kind": "labels",
        "mean_average_precision": float(mean_average_precision(test_marks, found, alike)[0]),
        "mean_average_precision_ci95": bootstrap95(
            images, partial(mean_average_precision, test_marks, found)
        ),
        "knn_mean_average_precision": float(mean_average_precision(test_marks, near.cpu().numpy(), alike)[0]),
        "chance": float(test_marks.mean()),
        "chance_ci95": bootstrap95(images, lambda weights: weights @ test_marks.mean(axis=1) / images),
        "label_precisions": label_precisions(test_marks, found, alike)[0].tolist(),
        "l2": probe.l2,
        "l2_at_edge": probe.at_edge,
        "validation_mean_average_precision": probe.validation_score,
        "converged": probe.model.converged,
        "classes": test_marks.shape[1],
        "train_images": len(train_marks),
        "test_images": images,
    }
    return Judged(row, found)


def _on_device(
    train: Features, test: Features, device: torch.device, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    for part in (train, test):
        require_finite(part, f"the encoder on {name}")
    return torch.from_numpy(train).to(device), torch.from_numpy(test).to(device)


def difference95(
    kind: TaskKind, truth: npt.NDArray[Any], first: Array, second: Array
) -> tuple[float, list[float]]:
    """The score of `first` minus that of `second` on the same images, and its 95 % interval by bootstrap.

    Both are resampled together, so what they get wrong alike cancels.

    Args:
        kind: labels or number.
        truth: (M, C) or (M,).
        first: answers as the protocol gives them, of the shape of `truth`.
        second: likewise.
    """
    score = SCORES[kind]

    def gap(weights: Array) -> Array:
        return score(truth, first, weights) - score(truth, second, weights)

    return float(gap(np.ones((1, len(truth))))[0]), bootstrap95(len(truth), gap)
