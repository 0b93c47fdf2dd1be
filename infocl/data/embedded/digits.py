"""Embedded targets beside `scenes`: the plain digits, and pieces of another photograph."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_image

from infocl.data.embedded import describe_task
from infocl.data.embedded.scenes import REGIONS, draw_crops, photo_crops, split_digits
from infocl.data.raw import Images, RawSet, RawSplit, Request, grey_to_rgb
from infocl.runtime.files import sha256_array

SPLIT_SEED = 0
PHOTO_IMAGES = {"train": 3000, "test": 1200}


def load_plain_digits(request: Request) -> RawSet:
    """scikit-learn's 1,797 grey 8x8 digits, enlarged, without any scene around them.

    They are split as for `scenes`, so that no scene that was trained on shows a test digit.
    """
    splits = {}
    for split in ("train", "test"):
        digits, labels = split_digits(request.data.scenes.seed, split)
        splits[split] = RawSplit(_enlarge(digits, request.data.image_size), labels)
    return RawSet(
        classes=[str(digit) for digit in range(10)],
        source="scikit-learn load_digits",
        licence="BSD-3-Clause",
        source_sha256=sha256_array(load_digits().images),
        splits=splits,
        about=describe_task("plain grey digits"),
    )


def _enlarge(images: np.ndarray[tuple[int, ...], np.dtype[np.float64]], size: int) -> Images:
    grey = torch.from_numpy(images).float()[:, None]
    large = F.interpolate(grey, size=(size, size), mode="bicubic", align_corners=False)[:, 0]
    return grey_to_rgb((255 * large.clamp(0, 1)).round().byte().numpy())


def load_photo_pieces(request: Request) -> RawSet:
    """Pieces of scikit-learn's flower.jpg, which no scene shows; classes are its six regions.

    Training and test pieces come from different tiles of the photograph.
    """
    splits = {}
    for stream, (split, count) in enumerate(PHOTO_IMAGES.items()):
        generator = np.random.default_rng((SPLIT_SEED, stream))
        labels = generator.permutation(np.arange(count) % len(REGIONS))
        crops = draw_crops(generator, labels, split)
        pixels = 255 * photo_crops("flower.jpg", crops, request.data.image_size)
        splits[split] = RawSplit(pixels.round().byte().permute(0, 2, 3, 1).contiguous().numpy(), labels)
    return RawSet(
        classes=list(REGIONS),
        source="scikit-learn sample photograph flower.jpg (vultilion)",
        licence="CC-BY-2.0",
        source_sha256=sha256_array(load_sample_image("flower.jpg")),
        splits=splits,
        about=describe_task("pieces of another photograph"),
    )
