"""Average precision of boxes and masks by COCO's own evaluator (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from infocl.detection.annotated import AnnotatedImage, AnnotatedSet, RunLengths

KINDS = {"boxes": "bbox", "masks": "segm"}


@dataclass(frozen=True)
class Found:
    """What a detector finds on one image: M objects."""

    boxes: npt.NDArray[np.float32]  # (M, 4), x1, y1, x2, y2 in px of the image as it is on disk
    labels: npt.NDArray[np.int64]  # (M,), 1 to the number of classes
    scores: npt.NDArray[np.float32]  # (M,), in [0, 1]
    masks: tuple[RunLengths, ...] | None


class _Evaluator(COCOeval):  # type: ignore[misc]
    """COCO's evaluator, in which an object can be ignored without being a crowd.

    A crowd absorbs any number of detections that lie inside it; a difficult object of VOC is matched by
    overlap as others are.
    """

    def _prepare(self) -> None:
        super()._prepare()
        for objects in self._gts.values():
            for item in objects:
                item["ignore"] = item["ignored"]


def average_precision(
    annotated: AnnotatedSet, found: Sequence[Found], kind: str, max_detections: int = 100
) -> dict[str, float]:
    """AP, AP50 and AP75 over all classes that the images show.

    Precision is averaged over 101 levels of recall, and AP over the overlaps 0.50, 0.55, ..., 0.95.
    Unlike VOC's own evaluator, a second detection of the same difficult object is wrong.

    Args:
        annotated: what there is; at least one object that is not ignored.
        found: what a detector finds on each of its images, in their order.
        kind: `boxes` or `masks`: what overlap is measured on.
        max_detections: per image and class; those of highest score count.

    Returns:
        `ap`, `ap50` and `ap75` in [0, 1].

    Reference: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
    """
    detections = [
        item for number, each in enumerate(found, 1) for item in _detections(number, each, kind == "masks")
    ]
    if not detections:  # pycocotools refuses an empty list
        return {"ap": 0.0, "ap50": 0.0, "ap75": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _as_coco(annotated)
        truth.createIndex()
        evaluator = _Evaluator(truth, truth.loadRes(detections), KINDS[kind])
        evaluator.params.maxDets = [max_detections]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, classes), -1: not shown
    overlaps = evaluator.params.iouThrs

    def mean_at(chosen: npt.NDArray[np.bool_]) -> float:
        values = precision[chosen]
        return float(values[values > -1].mean())

    return {
        "ap": mean_at(overlaps > 0),
        "ap50": mean_at(np.isclose(overlaps, 0.5)),
        "ap75": mean_at(np.isclose(overlaps, 0.75)),
    }


def _as_coco(annotated: AnnotatedSet) -> dict[str, Any]:
    """The set as the content of one of COCO's files; images and objects are numbered from 1."""
    objects: list[dict[str, Any]] = []
    for number, image in enumerate(annotated.images, 1):
        objects += [
            {"id": len(objects) + 1 + index, "image_id": number} | _object(image, index)
            for index in range(len(image.labels))
        ]
    return {
        "images": [
            {"id": number, "width": image.width, "height": image.height}
            for number, image in enumerate(annotated.images, 1)
        ],
        "annotations": objects,
        "categories": [{"id": number, "name": name} for number, name in enumerate(annotated.classes, 1)],
    }


def _object(image: AnnotatedImage, index: int) -> dict[str, Any]:
    box = _corner_and_size(image.boxes[index])
    entry = {
        "category_id": int(image.labels[index]),
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": int(image.crowd[index]),
        "ignored": int(image.ignored[index]),
    }
    return entry | ({"segmentation": image.masks[index]} if image.masks is not None else {})


def _detections(number: int, found: Found, masks: bool) -> list[dict[str, Any]]:
    rows = []
    for index, (label, score) in enumerate(zip(found.labels, found.scores, strict=True)):
        row: dict[str, Any] = {"image_id": number, "category_id": int(label), "score": float(score)}
        if masks and found.masks is not None:
            row["segmentation"] = found.masks[index]
        else:
            row["bbox"] = _corner_and_size(found.boxes[index])
        rows.append(row)
    return rows


def _corner_and_size(box: npt.NDArray[np.float32]) -> list[float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return [x1, y1, x2 - x1, y2 - y1]


def encode_masks(masks: npt.NDArray[np.bool_]) -> tuple[RunLengths, ...]:
    """Masks (M, H, W) as run lengths."""
    return tuple(rle.encode(np.asfortranarray(plane).astype(np.uint8)) for plane in masks)
