"""Average precision against answers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infocl.detection.annotated import AnnotatedImage, AnnotatedSet
from infocl.detection.evaluate import Found, average_precision, encode_masks

SIDE = 100
HALF_RECALL = 51 / 101  # precision 1 at recalls 0.00 to 0.50 of the 101 levels


def outlines(boxes):
    masks = np.zeros((len(boxes), SIDE, SIDE), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, np.asarray(boxes, int), strict=True):
        mask[y1:y2, x1:x2] = True
    return encode_masks(masks)


def image(boxes, labels=None, difficult=(), crowd=()):
    count = len(boxes)
    marks = np.arange(count)
    return AnnotatedImage(
        Path("none.jpg"),
        SIDE,
        SIDE,
        np.array(boxes, np.float32).reshape(count, 4),
        np.array(labels or [1] * count, np.int64),
        np.isin(marks, [*difficult, *crowd]),
        np.isin(marks, crowd),
        outlines(boxes),
    )


def found(boxes, labels=None, scores=None, masks=None):
    count = len(boxes)
    return Found(
        np.array(boxes, np.float32).reshape(count, 4),
        np.array(labels or [1] * count, np.int64),
        np.array(scores or [0.9] * count, np.float32),
        outlines(boxes if masks is None else masks),
    )


def judged(images, answers, kind="boxes", **options):
    result = average_precision(AnnotatedSet(("cat", "dog", "eel"), tuple(images)), answers, kind, **options)
    return pytest.approx([result["ap"], result["ap50"], result["ap75"]], abs=1e-9)


A, B, C = [10, 10, 50, 40], [60, 50, 90, 95], [0, 60, 40, 100]
SHIFTED = [18, 10, 58, 40]  # 32 of 48 columns in common with A: an overlap of 2/3
KINDS = pytest.mark.parametrize("kind", ["boxes", "masks"])


@KINDS
def test_what_is_there_is_found(kind):
    images = [image([A, B], [1, 2]), image([C]), image([])]
    assert judged(images, [found([B, A], [2, 1]), found([C]), found([])], kind) == [1, 1, 1]


@KINDS
def test_an_overlap_of_two_thirds_counts_at_four_of_ten_levels(kind):
    assert judged([image([A])], [found([SHIFTED])], kind) == [0.4, 1, 0]


@KINDS
@pytest.mark.parametrize(
    ("rows", "expected"), [(14, [0, 0, 0]), (16, [0.1, 1, 0]), (22, [0.5, 1, 0]), (23, [0.6, 1, 1])]
)
def test_a_level_counts_from_its_overlap_on(kind, rows, expected):
    """Of A's 30 rows so many are found."""
    assert judged([image([A])], [found([[10, 10, 50, 10 + rows]])], kind) == expected


@KINDS
def test_half_of_the_objects_are_missed(kind):
    assert judged([image([A, B])], [found([A])], kind) == [HALF_RECALL] * 3


@KINDS
def test_nothing_is_found(kind):
    assert judged([image([A, B])], [found([])], kind) == [0, 0, 0]


def test_a_wrong_detection_costs_by_its_score():
    assert judged([image([A])], [found([A, B], scores=[0.8, 0.9])]) == [0.5] * 3
    assert judged([image([A])], [found([A, B], scores=[0.9, 0.8])]) == [1, 1, 1]
    assert (
        judged([image([A, C])], [found([A, A, C], scores=[0.9, 0.8, 0.7])])
        == [pytest.approx((51 + 50 * 2 / 3) / 101)] * 3
    ), "finding the same object again is wrong"


def test_a_detection_counts_on_its_own_image_and_in_its_own_class():
    assert judged([image([A]), image([B])], [found([B]), found([A])]) == [0, 0, 0]
    assert judged([image([A], [1])], [found([A], [2])]) == [0, 0, 0]


def test_classes_weigh_alike_and_those_not_shown_do_not_count():
    images = [image([A, B, C], [1, 1, 2])]
    assert judged(images, [found([A, B], [1, 1])]) == [0.5] * 3


def test_masks_are_judged_by_their_pixels_and_boxes_by_theirs():
    answer = [found([A], masks=[[10, 10, 50, 30]])]  # 20 of 30 rows
    assert judged([image([A])], answer, "boxes") == [1, 1, 1]
    assert judged([image([A])], answer, "masks") == [0.4, 1, 0]


@KINDS
def test_difficult_objects_count_neither_when_missed_nor_when_found(kind):
    images = [image([A, B], difficult=[1])]
    assert judged(images, [found([A])], kind) == [1, 1, 1]
    assert judged(images, [found([A, B], scores=[0.8, 0.9])], kind) == [1, 1, 1]


@KINDS
def test_what_lies_within_a_crowd_is_ignored_but_not_within_a_difficult_object(kind):
    parts = [[60, 50, 75, 65], [75, 70, 90, 90]]
    answer = [found([A, *parts], scores=[0.7, 0.8, 0.9])]
    assert judged([image([A, B], crowd=[1])], answer, kind) == [1, 1, 1]
    assert judged([image([A, B], difficult=[1])], answer, kind) == [1 / 3] * 3


def test_the_detections_of_highest_score_are_counted_up_to_the_limit():
    answer = [found([B, A], scores=[0.2, 0.9])]
    assert judged([image([A, B])], answer, max_detections=2) == [1, 1, 1]
    assert judged([image([A, B])], answer, max_detections=1) == [HALF_RECALL] * 3


def test_nothing_is_printed(capsys):
    judged([image([A])], [found([A])])
    assert capsys.readouterr().out == ""
