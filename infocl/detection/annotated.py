"""Images annotated with boxes, classes and masks, whatever layout they come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pycocotools import mask as rle
from torch import Tensor

from infocl.runtime.errors import UserError

FORMATS = ("JPEG", "PNG")
# What torchvision's detectors learn from: N objects of one image as `boxes` float32 (N, 4), `labels` int64
# (N,) from 1, and for masks `masks` uint8 (N, H, W), 0 or 1.
Target = dict[str, Tensor]
RunLengths = dict[str, Any]  # a mask in COCO's run-length encoding: `size` (H, W) and `counts`


@dataclass(frozen=True)
class AnnotatedImage:
    """One image file and its N objects.

    Boxes are x1, y1, x2, y2 in px with the origin at the top left corner of the first pixel, so that
    width is x2 - x1. Objects that are `ignored` (VOC's difficult ones, COCO's crowds) are not trained
    on, and in an evaluation count neither for nor against; `crowd` marks those that stand for many.
    """

    path: Path
    width: int
    height: int
    boxes: npt.NDArray[np.float32]  # (N, 4)
    labels: npt.NDArray[np.int64]  # (N,), 1 to the number of classes; 0 is background in torchvision
    ignored: npt.NDArray[np.bool_]  # (N,)
    crowd: npt.NDArray[np.bool_]  # (N,)
    masks: tuple[RunLengths, ...] | None

    def load(self) -> Tensor:
        """The pixels, uint8 (3, H, W), as stored: annotations know nothing of EXIF rotation.

        Raises:
            UserError: the file is missing, no readable JPEG or PNG, or of another size than annotated.
        """
        try:
            with Image.open(self.path, formats=FORMATS) as opened:
                pixels = np.array(opened.convert("RGB"))
        except FileNotFoundError:
            raise UserError(f"{self.path} is missing; put the image there") from None
        except Exception as error:  # decoders of damaged files fail in every way there is
            reason = " ".join(str(error).replace(str(self.path), self.path.name).split())
            raise UserError(f"{self.path} cannot be read as an image ({reason}); replace it") from None
        height, width = pixels.shape[:2]
        if (width, height) != (self.width, self.height):
            raise UserError(
                f"{self.path} is {width} x {height} px but annotated as {self.width} x {self.height}; "
                "bring image and annotation together again"
            )
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def target(self) -> Target:
        """The objects to train on; there must be one."""
        kept = np.flatnonzero(~self.ignored)
        target = {"boxes": torch.from_numpy(self.boxes[kept]), "labels": torch.from_numpy(self.labels[kept])}
        if self.masks is not None:
            planes = rle.decode([self.masks[index] for index in kept])  # (H, W, N)
            target["masks"] = torch.from_numpy(planes).permute(2, 0, 1).contiguous()
        return target


@dataclass(frozen=True)
class AnnotatedSet:
    """The images of some splits, and the names of the classes that labels 1, 2, ... stand for."""

    classes: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]

    def trainable(self) -> AnnotatedSet:
        """Without the images that show nothing to train on."""
        return AnnotatedSet(self.classes, tuple(image for image in self.images if not image.ignored.all()))

    def require_objects(self, key: str) -> None:
        """Refuse a set without a single object that counts; `key` names the params that chose it."""
        if not self.trainable().images:
            raise UserError(
                f"the {len(self.images)} images of {key} hold no object that counts (none, or only difficult "
                "ones and crowds); choose other splits"
            )


def clip_boxes(boxes: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """Boxes (N, 4) cut to an image of width x height px."""
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)


def require_file(path: Path, hint: str) -> Path:
    """The path of a file that must be there.

    Raises:
        UserError: it is not.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; {hint}")
    return path
