"""The layout of COCO (Lin et al. 2014): one JSON file per split, images in a folder of the split's name.

The split train2017 is root/annotations/instances_train2017.json and root/train2017/000000000009.jpg.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from infocl.detection.annotated import AnnotatedImage, AnnotatedSet, RunLengths, clip_boxes, require_file
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json

HINT = "bring COCO's files there (detection.root), or choose other splits"


def read_coco(
    root: Path, splits: Sequence[str], *, masks: bool, classes: Sequence[str] | None = None
) -> AnnotatedSet:
    """Read splits such as train2017.

    Boxes without area, of which COCO has a few, are ignored as crowds are.

    Args:
        root: the folder of `annotations`.
        splits: names of JSON files without `instances_` and `.json`, and of the folders of images.
        masks: whether masks are needed.
        classes: those of the training splits; by default the file's categories by their id.

    Raises:
        UserError: a file is missing or corrupt, or two splits have other categories.
    """
    images: list[AnnotatedImage] = []
    for split in splits:
        file = root / "annotations" / f"instances_{split}.json"
        content = read_json(file, HINT)
        try:
            categories = sorted(content["categories"], key=lambda category: category["id"])
            names = [str(category["name"]) for category in categories]
            if classes is not None and names != list(classes):
                raise UserError(f"{file} has other categories than the training split; use files of one set")
            classes = names
            number = {category["id"]: index for index, category in enumerate(categories, 1)}
            images += _images(root / split, content, number, masks=masks)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise UserError(f"{file} is not a file of COCO's instances ({reason}); replace it") from None
    return AnnotatedSet(tuple(classes or ()), tuple(images))


def _images(
    folder: Path, content: dict[str, Any], number: dict[int, int], *, masks: bool
) -> list[AnnotatedImage]:
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    known = {about["id"] for about in content["images"]}
    stray = sorted(by_image.keys() - known)
    if stray:
        raise ValueError(f"annotations name the image {stray[0]}, which is not listed")
    return [_image(folder, about, by_image[about["id"]], number, masks=masks) for about in content["images"]]


def _image(
    folder: Path,
    about: dict[str, Any],
    annotations: list[dict[str, Any]],
    number: dict[int, int],
    *,
    masks: bool,
) -> AnnotatedImage:
    width, height, count = int(about["width"]), int(about["height"]), len(annotations)
    corner = np.array([item["bbox"] for item in annotations], np.float32).reshape(count, 4)
    boxes = clip_boxes(np.concatenate([corner[:, :2], corner[:, :2] + corner[:, 2:]], 1), width, height)
    crowd = np.array([bool(item.get("iscrowd", 0)) for item in annotations], bool)
    empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    return AnnotatedImage(
        require_file(folder / about["file_name"], HINT),
        width,
        height,
        boxes,
        np.array([number[item["category_id"]] for item in annotations], np.int64),
        crowd | empty,
        crowd,
        tuple(_mask(item["segmentation"], width, height) for item in annotations) if masks else None,
    )


def _mask(segmentation: Any, width: int, height: int) -> RunLengths:
    """COCO's polygons or run lengths, compressed."""
    if isinstance(segmentation, list):
        merged: RunLengths = rle.merge(rle.frPyObjects(segmentation, height, width))
        return merged
    if segmentation["size"] != [height, width]:
        raise ValueError(f"a mask of size {segmentation['size']} on an image of {[height, width]}")
    if isinstance(segmentation["counts"], list):
        packed: RunLengths = rle.frPyObjects(segmentation, height, width)
        return packed
    return {"size": segmentation["size"], "counts": segmentation["counts"].encode()}
