"""Small annotated sets in the genuine layouts: handwritten digits on crops of a photograph."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as rle
from sklearn.datasets import load_digits, load_sample_image

CLASSES = ["one", "three", "zero"]  # as VOC's reader sorts them
DIGITS = {"zero": 0, "one": 1, "three": 3}
VOID = 255


class Thing(NamedTuple):
    """One digit: its class and where it is, bool (H, W)."""

    name: str
    mask: np.ndarray

    @property
    def box(self):
        """The first and last column and row that it covers: x1, y1, x2, y2, counted from 0."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def scene(generator, width=96, height=72, scale=4):
    """A picture (H, W, 3) of one or two digits that do not touch, and the things on it."""
    photo = load_sample_image("china.jpg")
    top = generator.integers(0, photo.shape[0] - height)
    left = generator.integers(0, photo.shape[1] - width)
    picture = (photo[top : top + height, left : left + width] * 0.5).astype(np.uint8)
    digits, half, things = load_digits(), width // 2, []
    for place in range(generator.integers(1, 3)):
        name = CLASSES[generator.integers(len(CLASSES))]
        chosen = generator.choice(np.flatnonzero(digits.target == DIGITS[name]))
        stroke = np.kron(digits.images[chosen] / 16, np.ones((scale, scale))) > 0.4
        y = generator.integers(0, height - len(stroke) + 1)
        x = place * half + generator.integers(0, half - len(stroke) + 1)
        mask = np.zeros((height, width), bool)
        mask[y : y + len(stroke), x : x + len(stroke)] = stroke
        picture[mask] = generator.integers(160, 256, 3)
        things.append(Thing(name, mask))
    return picture, things


def scenes(count, seed=0, **shape):
    generator = np.random.default_rng(seed)
    return [scene(generator, **shape) for _ in range(count)]


def write_voc(root, name, pictures, *, year="VOC2007", difficult=(), first=0):
    """Add a split of VOC; `difficult` names (image, object) pairs, both from 0."""
    folder = root / "VOCdevkit" / year
    names = [f"{number:06d}" for number in range(first, first + len(pictures))]
    for part in (
        "JPEGImages",
        "Annotations",
        "SegmentationObject",
        "ImageSets/Main",
        "ImageSets/Segmentation",
    ):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for part in ("Main", "Segmentation"):
        (folder / f"ImageSets/{part}/{name}.txt").write_text("".join(f"{each}\n" for each in names))
    for index, (each, (picture, things)) in enumerate(zip(names, pictures, strict=True)):
        Image.fromarray(picture).save(folder / f"JPEGImages/{each}.jpg", quality=95)
        objects = "".join(
            _voc_object(thing, (index, number) in difficult) for number, thing in enumerate(things)
        )
        height, width = picture.shape[:2]
        (folder / f"Annotations/{each}.xml").write_text(
            f"<annotation><folder>{year}</folder><filename>{each}.jpg</filename><size><width>{width}</width>"
            f"<height>{height}</height><depth>3</depth></size><segmented>1</segmented>{objects}</annotation>"
        )
        _write_object_picture(folder / f"SegmentationObject/{each}.png", things, (height, width))


def _voc_object(thing, difficult):
    x1, y1, x2, y2 = (value + 1 for value in thing.box)
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
    part = f"<part><name>loop</name><bndbox>{corners}</bndbox></part>"
    return (
        f"<object><name>{thing.name}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>{int(difficult)}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox>{part}</object>"
    )


def _write_object_picture(path, things, shape):
    index = np.zeros(shape, np.uint8)
    index[0, :] = VOID
    for number, thing in enumerate(things, 1):
        index[thing.mask] = number
    picture = Image.fromarray(index, mode="P")
    picture.putpalette([value for colour in range(256) for value in (colour, 255 - colour, colour // 2)])
    picture.save(path)


def write_coco(root, name, pictures, *, crowd=(), ids=(7, 3, 12)):
    """Add a split of COCO with masks as polygons, and run lengths for crowds; `ids` as gappy as COCO's."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / name).mkdir()
    images, annotations = [], []
    number = dict(zip(CLASSES, ids, strict=True))
    for index, (picture, things) in enumerate(pictures):
        height, width = picture.shape[:2]
        identity = 1000 - index
        Image.fromarray(picture).save(root / name / f"{identity:012d}.jpg", quality=95)
        images.append({"id": identity, "file_name": f"{identity:012d}.jpg", "width": width, "height": height})
        for place, thing in enumerate(things):
            x1, y1, x2, y2 = thing.box
            stands_for_many = (index, place) in crowd
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": identity,
                    "category_id": number[thing.name],
                    "bbox": [x1, y1, x2 + 1 - x1, y2 + 1 - y1],
                    "area": int(thing.mask.sum()),
                    "iscrowd": int(stands_for_many),
                    "segmentation": _run_lengths(thing.mask) if stands_for_many else _rows(thing.mask),
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": value, "name": key} for key, value in number.items()],
    }
    (root / f"annotations/instances_{name}.json").write_text(json.dumps(content))


def _rows(mask):
    """Rectangles that together cover the mask, as polygons."""
    polygons = []
    for y in range(len(mask)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[y].astype(int), [0]])))
        polygons += [
            [float(v) for v in (a, y, b, y, b, y + 1, a, y + 1)]
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]
    return polygons


def _run_lengths(mask):
    """Uncompressed run lengths, column by column, as COCO stores crowds."""
    flat = mask.flatten(order="F").astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": lengths if flat[0] == 0 else [0, *lengths]}


def decoded(outline):
    return rle.decode(outline).astype(bool)
