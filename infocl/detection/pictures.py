"""A picture of what a detector finds: annotated images above, its detections below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from pycocotools import mask as rle
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks, make_grid

from infocl.detection.annotated import AnnotatedImage, AnnotatedSet, RunLengths
from infocl.detection.evaluate import Found
from infocl.runtime.files import replacing

TILE = 320  # px, side of a tile
LEAST_SCORE = 0.5  # of the detections that are drawn
COLOURS = colormaps["tab10"]


def write_examples(path: Path, data: AnnotatedSet, found: Sequence[Found]) -> None:
    """One column per image: the truth on top, below it the detections with a score of 0.5 or more.

    Args:
        path: of the PNG file.
        data: the images.
        found: the detections on each.
    """
    truth, answers = [], []
    for image, each in zip(data.images, found, strict=True):
        names = [data.classes[label - 1] for label in image.labels]
        truth.append(_tile(image, image.boxes, image.labels, names, image.masks))
        seen = np.flatnonzero(each.scores >= LEAST_SCORE)
        labels = each.labels[seen]
        captions = [
            f"{data.classes[label - 1]} {score:.0%}"
            for label, score in zip(labels, each.scores[seen], strict=True)
        ]
        masks = None if each.masks is None else tuple(each.masks[index] for index in seen)
        answers.append(_tile(image, each.boxes[seen], labels, captions, masks))
    picture = to_pil_image(make_grid(torch.stack(truth + answers), nrow=len(truth), padding=4, pad_value=255))
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")


def _tile(
    image: AnnotatedImage,
    boxes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    names: list[str],
    masks: tuple[RunLengths, ...] | None,
) -> Tensor:
    """The image, uint8 (3, TILE, TILE), scaled to fit, on white, with its objects drawn in."""
    pixels = image.load()
    scale = TILE / max(image.width, image.height)
    size = (max(1, round(scale * image.height)), max(1, round(scale * image.width)))
    shown = F.interpolate(pixels[None].float(), size, mode="bilinear", antialias=True)[0].round().byte()
    colours = [tuple(COLOURS(label % COLOURS.N, bytes=True)[:3]) for label in labels]
    if len(labels):
        if masks is not None:
            planes = torch.from_numpy(np.stack([rle.decode(mask) for mask in masks]))
            planes = F.interpolate(planes[None].float(), size)[0] > 0.5
            shown = draw_segmentation_masks(shown, planes, alpha=0.5, colors=colours)
        scaled = torch.from_numpy(scale * boxes)
        shown = draw_bounding_boxes(shown, scaled, names, colours, width=2)
    tile = torch.full((3, TILE, TILE), 255, dtype=torch.uint8)
    tile[:, : size[0], : size[1]] = shown
    return tile
