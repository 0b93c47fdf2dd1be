"""The protocol of every labelled evaluation: linear probe and nearest neighbours, test set read once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infocl.config import ProbeParams
from infocl.evaluate.features import require_finite
from infocl.evaluate.knn import knn_predict
from infocl.evaluate.linear import LinearProbe, fit_probe
from infocl.evaluate.stored import Features
from infocl.evaluate.wilson import Right, wilson95
from infocl.prepared.tasks import check_labels, check_test_labels

Labels = npt.NDArray[np.int64]


class Judged(NamedTuple):
    """A task's figures, and the linear probe's answers for its M test images.

    Of classes these are the right ones, bool (M,), of labels the log-odds, float64 (M, C), else numbers (M,).
    """

    row: dict[str, Any]
    answers: npt.NDArray[Any]
    confusion: dict[str, Any] | None = None  # of classes: how often each was taken for which


def evaluate_task(
    train_features: Features,
    train_labels: Labels,
    test_features: Features,
    test_labels: Labels,
    params: ProbeParams,
    seed: int,
    device: torch.device,
    name: str = "the data set",
    classes: Sequence[str] | None = None,
) -> Judged:
    """Judge features by one labelled task.

    Args:
        train_features: unstandardised, (N, D).
        train_labels: (N,), any integers.
        test_features: (M, D).
        test_labels: (M,); used for nothing but the final counts.
        params: the block `probe`.
        seed: of the validation split.
        device: where to compute.
        name: of the data set, for messages.
        classes: names of the classes by label, for messages.

    Returns:
        A row with `accuracy` of the linear probe, `accuracy_ci95` (Wilson), `knn_accuracy`, `majority`
        (accuracy of always answering the most frequent training class), the chosen `l2`, its
        `validation_accuracy`, `l2_at_edge` (a wider probe.l2 may do better), `converged`, `classes`,
        `train_images`, `test_images`; and the answers it counts.

    Raises:
        UserError: the labels do not make a task: one class, too few images, unknown test classes.
        InfoCLError: a feature is NaN or infinite.
    """
    require_finite(train_features, f"the encoder on {name}")
    require_finite(test_features, f"the encoder on {name}")
    known, train_codes = np.unique(train_labels, return_inverse=True)
    check_labels(known, train_codes, params.validation_share, name, classes)
    train, test = (torch.from_numpy(part).to(device) for part in (train_features, test_features))
    probe = fit_probe(train, train_codes, len(known), params, seed)
    predicted = known[probe.predict(test).cpu().numpy()]
    neighbours = known[_nearest(probe, train, train_codes, test, params).cpu().numpy()]
    check_test_labels(known, test_labels, name, classes)
    right: Right = predicted == test_labels
    row = {
        "accuracy": int(right.sum()) / len(test_labels),
        "accuracy_ci95": wilson95(int(right.sum()), len(test_labels)),
        "knn_accuracy": float((neighbours == test_labels).mean()),
        "majority": float((test_labels == known[np.bincount(train_codes).argmax()]).mean()),
        "l2": probe.choice.l2,
        "l2_at_edge": probe.choice.at_edge,
        "validation_accuracy": probe.choice.validation_score,
        "converged": probe.model.converged,
        "classes": len(known),
        "train_images": len(train_labels),
        "test_images": len(test_labels),
    }
    return Judged(row, right, count_confusions(known, predicted, test_labels, classes))


def count_confusions(
    known: Labels, predicted: Labels, truth: Labels, classes: Sequence[str] | None
) -> dict[str, Any]:
    """How often each class was taken for which, where it happened.

    Args:
        known: the classes, (C,), sorted.
        predicted: (M,), each one of `known`.
        truth: (M,), likewise.
        classes: names by label; None: the labels are the names.

    Returns:
        `classes` (C names), and lists of equal length: `truth` and `predicted` (places in `classes`) and
        `count`.
    """
    pairs = np.searchsorted(known, truth) * len(known) + np.searchsorted(known, predicted)
    found, counts = np.unique(pairs, return_counts=True)
    return {
        "classes": [str(label if classes is None else classes[label]) for label in known],
        "truth": (found // len(known)).tolist(),
        "predicted": (found % len(known)).tolist(),
        "count": counts.tolist(),
    }


def _nearest(
    probe: LinearProbe, train: Tensor, train_codes: Labels, test: Tensor, params: ProbeParams
) -> Tensor:
    """Nearest neighbours in the probe's standardised space, (M,)."""
    codes = torch.from_numpy(train_codes).to(train.device)
    classes = len(probe.model.bias)
    return knn_predict(
        probe.scaling.single(train),
        codes,
        probe.scaling.single(test),
        classes,
        params.knn_k,
        params.knn_temperature,
    )


def mean_accuracy(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    r"""The mean over tasks, with a 95 % interval from those of the tasks.

    .. math:: \bar p \pm \frac1T \sqrt{\sum_t (p_t - l_t)^2} \quad \text{(below; above with } u_t - p_t)

    It speaks of the sampling of test images, takes the tasks' errors as independent, and says nothing
    of other tasks or of other seeds of pretraining.

    Args:
        rows: what the protocol returned for each task; those without accuracy take no part.

    Returns:
        The figures; none where no task has an accuracy.

    Reference: Zou and Donner, "Construction of confidence limits about effect measures", Statistics
    in Medicine 2008.
    """
    rows = [row for row in rows if "accuracy" in row]
    if not rows:
        return {}
    accuracies = np.array([row["accuracy"] for row in rows])
    lows, highs = np.array([row["accuracy_ci95"] for row in rows]).T
    mean = float(accuracies.mean())
    below = math.sqrt(((accuracies - lows) ** 2).sum()) / len(rows)
    above = math.sqrt(((highs - accuracies) ** 2).sum()) / len(rows)
    return {
        "mean_accuracy": mean,
        "mean_accuracy_ci95": [mean - below, mean + above],
        "mean_knn_accuracy": float(np.mean([row["knn_accuracy"] for row in rows])),
    }
