"""The protocol for tasks of several labels and of numbers: test set read once, intervals by bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import train_test_split

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
from infocl.evaluate.linear import fit_probe
from infocl.evaluate.protocol import Judged
from infocl.evaluate.regression import fit_ridge
from infocl.evaluate.scaling import Scaling
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

    The arguments are those of `evaluate_task`, but for the numbers, float64 (N,) and (M,).

    Returns:
        A row with `r2` of a ridge regression and `r2_ci95`, `rmse` and `rmse_ci95` (in the unit of the
        numbers), `knn_r2`, `chance` (R² of always answering the training mean) and `chance_rmse`, the
        chosen `l2`, `validation_r2` and `l2_at_edge`; and the numbers predicted for the test images.

    Raises:
        InfoCLError: a feature is NaN or infinite.
    """
    train, test = _on_device(train_features, test_features, device, name)
    images, targets = len(train_numbers), torch.from_numpy(train_numbers[:, None]).to(device)
    _, held = train_test_split(np.arange(images), test_size=params.validation_share, random_state=seed)
    validation = torch.zeros(images, dtype=torch.bool, device=device)
    validation[held] = True
    probe = fit_ridge(train, targets, validation, params.l2)
    predicted = probe.predict(test)[:, 0].cpu().numpy()
    neighbours = _neighbours(probe.scaling, train, targets, test, params)[:, 0]
    mean = np.full(len(test_numbers), train_numbers.mean())
    row = {
        "kind": "number",
        **_scored("r2", r2_score, test_numbers, predicted),
        **_scored("rmse", rmse, test_numbers, predicted),
        "knn_r2": _value(r2_score, test_numbers, neighbours),
        **_scored("chance", r2_score, test_numbers, mean),
        "chance_rmse": _value(rmse, test_numbers, mean),
        "l2": probe.l2,
        "l2_at_edge": probe.at_edge,
        "validation_r2": probe.validation_r2,
        "converged": True,
        "classes": 0,
        "train_images": images,
        "test_images": len(test_numbers),
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

    The arguments are those of `evaluate_task`, but for the marks, (N, C) and (M, C), 1 where an image has a
    label; of each label some training images have it and some do not.

    Returns:
        A row with the `mean_average_precision` of logistic regressions over the labels and its interval,
        that of each label (`label_precisions`), `knn_mean_average_precision`, `chance` (of a ranking at
        random: the mean share of images with a label), and `l2` and the like as in `evaluate_task`; and
        the log-odds of the test images, (M, C).

    Raises:
        InfoCLError: a feature is NaN or infinite.
    """
    train, test = _on_device(train_features, test_features, device, name)
    probe = fit_probe(train, train_marks.astype(np.float64), train_marks.shape[1], params, seed)
    found = probe.model.logits(probe.scaling(test)).cpu().numpy()
    near = _neighbours(probe.scaling, train, torch.from_numpy(train_marks).to(device), test, params)
    images = len(test_marks)
    row = {
        "kind": "labels",
        **_scored("mean_average_precision", mean_average_precision, test_marks, found),
        "knn_mean_average_precision": _value(mean_average_precision, test_marks, near),
        "chance": float(test_marks.mean()),
        "chance_ci95": bootstrap95(images, lambda weights: weights @ test_marks.mean(axis=1) / images),
        "label_precisions": label_precisions(test_marks, found, np.ones((1, images)))[0].tolist(),
        "l2": probe.choice.l2,
        "l2_at_edge": probe.choice.at_edge,
        "validation_mean_average_precision": probe.choice.validation_score,
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


def _neighbours(
    scaling: Scaling, train: torch.Tensor, values: torch.Tensor, test: torch.Tensor, params: ProbeParams
) -> Array:
    """What the nearest training images answer, (M, C)."""
    near = knn_average(scaling.single(train), values, scaling(test), params.knn_k, params.knn_temperature)
    answers: Array = near.cpu().numpy()
    return answers


def _value(score: Score, truth: npt.NDArray[Any], answers: Array) -> float:
    return float(score(truth, answers, np.ones((1, len(truth))))[0])


def _scored(key: str, score: Score, truth: npt.NDArray[Any], answers: Array) -> dict[str, Any]:
    """A score and its interval, by their keys."""
    return {
        key: _value(score, truth, answers),
        f"{key}_ci95": bootstrap95(len(truth), partial(score, truth, answers)),
    }


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
