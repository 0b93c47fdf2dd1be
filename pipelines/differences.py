"""How much better one exported encoder is than another, with intervals: on a task, and on their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from infocl.deploy.correct import read_correct
from infocl.evaluate.paired import Difference, independent, paired
from infocl.evaluate.wilson import Right, wilson
from infocl.results.card import (
    CARD_FILE,
    HINT,
    ONNX_FILE,
    CardMetrics,
    Parity,
    TaskScore,
    parse_measured,
)
from infocl.runtime.files import read_json


@dataclass(frozen=True)
class ExportedEncoder:
    """What the gate looks at.

    Attributes:
        metrics: of the card.
        parity: of the card.
        size: of the file, in bytes.
        seconds: for a batch of 64 images.
        correct: which test images the probe is right for, by task; empty for exports that do not say so.
    """

    metrics: CardMetrics
    parity: Parity
    size: int
    seconds: float | None = None
    correct: Mapping[str, Right] = field(default_factory=dict)

    @property
    def tasks(self) -> dict[str, TaskScore]:
        """The score and its interval for each target."""
        return self.metrics.transfer

    def mean(self, names: Sequence[str]) -> float:
        """The mean score of some targets."""
        return sum(self.tasks[name].score for name in names) / len(names)


def read_encoder(folder: Path, seconds: float | None = None) -> ExportedEncoder:
    """Read an exported folder.

    Raises:
        UserError: its description is missing, damaged, or without transfer accuracies.
    """
    path = folder / CARD_FILE
    measured = parse_measured(read_json(path, HINT), path)
    size = (folder / ONNX_FILE).stat().st_size
    return ExportedEncoder(measured.metrics, measured.parity, size, seconds, read_correct(folder))


def common_targets(new: ExportedEncoder, other: ExportedEncoder) -> list[str]:
    """The targets that both were judged on in the same way, in the order of the first."""
    return [
        name for name, row in new.tasks.items() if name in other.tasks and other.tasks[name].kind == row.kind
    ]


def is_paired(new: ExportedEncoder, other: ExportedEncoder, name: str) -> bool:
    """Whether a target can be compared image by image: both have answers, to the same questions."""
    answered = name in new.correct and name in other.correct
    return answered and new.tasks[name].same_test(other.tasks[name])


def of_task(new: ExportedEncoder, other: ExportedEncoder, name: str, confidence: float) -> Difference:
    """The difference on a target: paired where the test images are the same, else of independent samples."""
    if is_paired(new, other, name):
        return paired(new.correct[name], other.correct[name], confidence)
    estimates = (encoder.tasks[name] for encoder in (new, other))
    return independent(*(limits(row, confidence) for row in estimates))


def limits(row: TaskScore, confidence: float = 0.95) -> tuple[float, float, float]:
    """A score, and the low and high end of its interval at a confidence in 0..1.

    That of an accuracy is Wilson's; that of another score is its 95 % interval, stretched as a normal one.
    """
    if row.kind == "class":
        return row.score, *wilson(row.right, row.test_images, confidence)
    score, low, high = row.estimate
    factor = float(ndtri(0.5 + confidence / 2) / ndtri(0.975))
    return score, score - factor * (score - low), score + factor * (high - score)


def of_mean(
    new: ExportedEncoder, other: ExportedEncoder, names: Sequence[str], confidence: float = 0.95
) -> Difference:
    r"""The difference of the mean over targets.

    .. math:: \frac1T \sqrt{\sum_{st} r_{st} a_s a_t}

    is how far its interval goes to a side, with :math:`a_t` how far that of target t goes there, and
    :math:`r_{st}` the correlation over images of the two targets' differences where they are asked of the
    same test images, otherwise 0. It speaks of the sampling of test images, not of seeds.

    Reference: Zou and Donner, "Construction of confidence limits about effect measures", Statistics in
    Medicine 2008; the terms for dependent estimates are those of the variance of a sum.
    """
    found = [of_task(new, other, name, confidence) for name in names]
    alike = _correlations(new, other, names)
    below, above = (
        math.sqrt(max(0.0, float(arms @ alike @ arms))) / len(names)
        for arms in (np.array([one.below for one in found]), np.array([one.above for one in found]))
    )
    return Difference(new.mean(names) - other.mean(names), below, above)


def _correlations(
    new: ExportedEncoder, other: ExportedEncoder, names: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Correlations of the targets' differences over images, (T, T); 0 without common images or spread."""
    matrix = np.eye(len(names))
    by_images: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if is_paired(new, other, name):
            by_images.setdefault(str(new.tasks[name].test_images_sha256), []).append(index)
    for group in by_images.values():
        answers = [new.correct[names[index]].astype(float) - other.correct[names[index]] for index in group]
        centred = np.stack(answers) - np.mean(answers, axis=1, keepdims=True)
        spread = np.sqrt((centred**2).sum(axis=1))
        products = np.outer(spread, spread)
        found = np.divide(centred @ centred.T, products, out=np.zeros_like(products), where=products > 0)
        matrix[np.ix_(group, group)] = found
    np.fill_diagonal(matrix, 1.0)
    return matrix
