"""What an evaluation needs of its data, so that it can be refused before hours of training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from infocl.runtime.errors import UserError

Labels = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

LEAST_TEST_IMAGES = 8
NAMED = 20  # names in a message


def check_source(
    train_labels: Labels | None,
    test_labels: Labels | None,
    test_images: int,
    share: float,
    name: str,
    classes: Sequence[str] | None,
) -> None:
    """Refuse a source data set that the probe stage could not judge.

    Args:
        train_labels: (N,), or None.
        test_labels: (M,), or None.
        test_images: M.
        share: probe.validation_share.
        name: of the data set, for the message.
        classes: their names, for the message; None where the data have none.

    Raises:
        UserError: too few test images, or labels that do not make a task.
    """
    if test_images < LEAST_TEST_IMAGES:
        raise UserError(
            f"{name} has {test_images} test images, but the diagnostics need at least {LEAST_TEST_IMAGES}; "
            "hold out more"
        )
    if train_labels is None or test_labels is None:
        return
    known, codes = np.unique(train_labels, return_inverse=True)
    check_labels(known, codes, share, name, classes)
    check_test_labels(known, test_labels, name, classes)


def check_labels(
    known: Labels, codes: Labels, validation_share: float, name: str, classes: Sequence[str] | None = None
) -> None:
    """Refuse training labels that cannot be split into a fit and a validation part.

    Args:
        known: the classes, (C,).
        codes: index into `known` of every training image, (N,).
        validation_share: of the training images.
        name: of the data set, for the message.
        classes: names of the classes by label, for the message.

    Raises:
        UserError: fewer than two classes, a class with one image, or parts with fewer images than classes.
    """
    if len(known) < 2:
        raise UserError(
            f"{name} has {len(codes)} training images of {len(known)} class; "
            "a probe needs at least two classes, so check the labels"
        )
    counts = np.bincount(codes)
    if counts.min() < 2:
        single = [_called(int(known[row]), classes) for row in np.flatnonzero(counts < 2)]
        raise UserError(
            f"{name} has a single training image of class {_listed(single)}; "
            "a probe needs at least two of each class, so add images or drop the class"
        )
    validation = math.ceil(validation_share * len(codes))
    if min(validation, len(codes) - validation) < len(known):
        raise UserError(
            f"{name} has {len(codes)} training images of {len(known)} classes, too few for "
            f"probe.validation_share {validation_share:g}; raise it (0.5 at most) or add images"
        )


def check_test_labels(
    known: Labels, test_labels: Labels, name: str, classes: Sequence[str] | None = None
) -> None:
    """Refuse test images of classes that the training split lacks.

    Raises:
        UserError: there is such a class.
    """
    unknown = np.setdiff1d(test_labels, known)
    if len(unknown):
        called = _listed([_called(int(label), classes) for label in unknown])
        raise UserError(
            f"{name} has test images of class {called}, of which there is no training image; prepare the "
            "data set with the same classes in both splits"
        )


def check_target(
    train_labels: Labels | None, test_labels: Labels | None, name: str, classes: Sequence[str]
) -> None:
    """Refuse a target of classes that no stage could judge, whatever probe.validation_share is.

    Raises:
        UserError: the labels do not make a task.
    """
    if train_labels is None or test_labels is None or not len(test_labels):
        raise UserError(f"{name} has no labelled images in both splits, so it is no task; label some")
    known, codes = np.unique(train_labels, return_inverse=True)
    check_labels(known, codes, 0.5, name, classes)
    check_test_labels(known, test_labels, name, classes)


def check_numbers(train: Numbers, test: Numbers, name: str) -> None:
    """Refuse numbers (N,) and (M,) that no regression could be fitted to or judged by.

    Raises:
        UserError: there are too few, or all of a split are the same.
    """
    for part, numbers in (("training", train), ("test", test)):
        if len(numbers) < LEAST_TEST_IMAGES or np.ptp(numbers) == 0:
            raise UserError(
                f"{name} has {len(np.unique(numbers))} different numbers on {len(numbers)} {part} images; a "
                f"regression needs at least {LEAST_TEST_IMAGES} images and two numbers in each split"
            )


def judged_labels(train: Labels, test: Labels, name: str, labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which labels can be judged: two training images with and without each, and a test image with it.

    Args:
        train: int64 (N, C), 1 where an image has a label.
        test: (M, C).
        name: of the data set, for the message.
        labels: their C names.

    Returns:
        bool (C,), at least one true.

    Raises:
        UserError: none can.
    """
    having, lacking = train.sum(axis=0), (1 - train).sum(axis=0)
    kept: npt.NDArray[np.bool_] = (having >= 2) & (lacking >= 2) & (test.sum(axis=0) >= 1)
    if len(train) < LEAST_TEST_IMAGES or len(test) < LEAST_TEST_IMAGES or not kept.any():
        raise UserError(
            f"{name} has {len(train)} training and {len(test)} test images with {len(labels)} labels "
            f"({_listed(labels) or 'none'}), none of which can be judged; at least {LEAST_TEST_IMAGES} "
            "images in each split, and of some label two training images and a test image, are needed"
        )
    return kept


def _listed(names: Sequence[str]) -> str:
    """All names, or the first of very many."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _called(label: int, classes: Sequence[str] | None) -> str:
    return str(label if classes is None else classes[label])
