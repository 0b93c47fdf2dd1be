"""The layout of Pascal VOC (Everingham et al. 2010): one XML file per image, masks as indexed PNG.

In root/VOCdevkit/VOC2007 lie:

- ImageSets/Main/trainval.txt: names of images, one a line; for masks, which few images have,
  ImageSets/Segmentation/trainval.txt;
- Annotations/000005.xml: objects, with boxes that count from pixel 1 and include both ends;
- JPEGImages/000005.jpg;
- SegmentationObject/000005.png: k where object k of the XML file is, 0 elsewhere, 255 undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as rle

from infocl.detection.annotated import AnnotatedImage, AnnotatedSet, RunLengths, clip_boxes, require_file
from infocl.runtime.errors import UserError

VOID = 255
HINT = "bring the files of VOCdevkit there (detection.root), or choose other splits"


class _Object(NamedTuple):
    name: str
    box: tuple[float, float, float, float]  # px, from 0, the end excluded
    difficult: bool


class _Annotation(NamedTuple):
    file: Path
    width: int
    height: int
    objects: list[_Object]


def read_voc(
    root: Path, splits: Sequence[str], *, masks: bool, classes: Sequence[str] | None = None
) -> AnnotatedSet:
    """Read splits such as VOC2007/trainval.

    Args:
        root: the folder of `VOCdevkit`.
        splits: YEAR/LIST, where LIST.txt is in ImageSets/Main, or ImageSets/Segmentation for masks.
        masks: whether masks are needed.
        classes: those of the training splits; by default the names found, in alphabetical order (for
            the whole of VOC its 20 classes in their own order).

    Raises:
        UserError: a file is missing or corrupt, or a class is not among `classes`.
    """
    found = [(name, _parse(name)) for split in splits for name in _files(root, split, masks=masks)]
    names = {item.name for _, annotation in found for item in annotation.objects}
    if classes is None:
        classes = sorted(names)
    for file, annotation in found:
        unknown = sorted({item.name for item in annotation.objects} - set(classes))
        if unknown:
            raise UserError(
                f"{file} names the class {unknown[0]!r}, which no training image shows; correct it"
            )
    number = {name: index for index, name in enumerate(classes, 1)}
    return AnnotatedSet(tuple(classes), tuple(_image(note, number, masks=masks) for _, note in found))


def _files(root: Path, split: str, *, masks: bool) -> list[Path]:
    year, slash, name = split.rpartition("/")
    if not slash:
        raise UserError(f"the split {split!r} of detection.layout voc must be named as in VOC2007/trainval")
    folder = root / "VOCdevkit" / year
    listing = folder / "ImageSets" / ("Segmentation" if masks else "Main") / f"{name}.txt"
    try:
        lines = require_file(listing, HINT).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{listing} is not a text file; replace it") from None
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise UserError(f"{listing} names no image; replace it")
    return [folder / "Annotations" / f"{name}.xml" for name in names]


def _parse(file: Path) -> _Annotation:
    require_file(file, HINT)
    try:
        tree = ElementTree.parse(file).getroot()
        width, height = int(_text(tree, "size/width")), int(_text(tree, "size/height"))
        objects = [_object(node, width, height) for node in tree.findall("object")]
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{file} is not an annotation of VOC ({error}); replace it") from None
    return _Annotation(file, width, height, objects)


def _object(node: ElementTree.Element, width: int, height: int) -> _Object:
    x1, y1, x2, y2 = (float(_text(node, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax"))
    if not (x1 <= x2 and y1 <= y2 and x2 > 0 and y2 > 0 and x1 <= width and y1 <= height):
        raise ValueError(f"box {x1:g} {y1:g} {x2:g} {y2:g} is empty or outside of {width} x {height} px")
    difficult = node.findtext("difficult", "0").strip() == "1"
    return _Object(_text(node, "name"), (x1 - 1, y1 - 1, x2, y2), difficult)


def _text(node: ElementTree.Element, path: str) -> str:
    text = (node.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"{path} is missing")
    return text


def _image(annotation: _Annotation, number: dict[str, int], *, masks: bool) -> AnnotatedImage:
    file, width, height, objects = annotation
    folder, count = file.parent.parent, len(objects)
    boxes = np.array([item.box for item in objects], np.float32).reshape(count, 4)
    ignored = np.array([item.difficult for item in objects], bool)
    outlines = None
    if masks:
        outlines = _masks(folder / "SegmentationObject" / f"{file.stem}.png", annotation)
        # Objects without a pixel of their own cannot be found by their mask.
        ignored |= np.array([rle.area(outline) == 0 for outline in outlines], bool)
    return AnnotatedImage(
        require_file(folder / "JPEGImages" / f"{file.stem}.jpg", HINT),
        width,
        height,
        clip_boxes(boxes, width, height),
        np.array([number[item.name] for item in objects], np.int64),
        ignored,
        np.zeros(count, bool),
        outlines,
    )


def _masks(file: Path, annotation: _Annotation) -> tuple[RunLengths, ...]:
    require_file(file, HINT)
    try:
        with Image.open(file, formats=("PNG",)) as opened:
            if opened.mode not in ("P", "L"):
                raise ValueError(f"its pixels are {opened.mode}, not indices of objects")
            index: npt.NDArray[np.uint8] = np.array(opened)
    except Exception as error:  # decoders of damaged files fail in every way there is
        raise UserError(f"{file} cannot be read as a picture of objects ({error}); replace it") from None
    count = len(annotation.objects)
    if index.shape != (annotation.height, annotation.width):
        raise UserError(
            f"{file} is {index.shape[1]} x {index.shape[0]} px, but {annotation.file} says "
            f"{annotation.width} x {annotation.height}; replace it"
        )
    highest = int(index[index != VOID].max(initial=0))
    if highest > count:
        raise UserError(f"{file} shows object {highest}, but {annotation.file} has {count}; replace it")
    return tuple(rle.encode(np.asfortranarray(index == k).astype(np.uint8)) for k in range(1, count + 1))
