"""What rounding does to embeddings: training shrank photographs in whole grey levels, the graph does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from infocl.config import Crop
from infocl.encoder.network import Encoder
from infocl.evaluate.features import encode
from infocl.export.compare import relative_errors
from infocl.export.preprocessing import square_unit_range
from infocl.prepared.square import to_square

TIMES = (2, 4, 8)  # the trained size, and the photographs' own height
EACH = 12  # squares of a size, from each photograph
PIXELS = npt.NDArray[np.uint8]


def rounding_by_size(encoder: Encoder, size: int, crop: Crop) -> list[dict[str, Any]]:
    """How far embeddings of photographs in service are from those of the same photographs in training.

    Both crop alike; Pillow, which prepares training images, rounds to whole grey levels after each of two
    passes, and the exported graph computes in float32. Measured on squares of scikit-learn's two photographs.

    Args:
        encoder: in evaluation mode, on the CPU.
        size: S in px, of the images that it was trained on.
        crop: as it was trained.

    Returns:
        For each side in px the median and the worst relative L2 error of an embedding, and their number.
    """
    photographs = load_sample_images().images
    height = min(photo.shape[0] for photo in photographs)
    sides = sorted({size * times for times in TIMES if size * times < height} | {height})
    return [
        {"side": side, **_rounding(encoder, _squares(photographs, side), size, crop)}
        for side in sides
        if side > size
    ]


def _squares(photographs: list[PIXELS], side: int) -> PIXELS:
    """Squares (N, side, side, 3), evenly spread along the diagonal of each photograph."""
    return np.stack(
        [
            photo[top : top + side, left : left + side]
            for photo in photographs
            for top, left in zip(
                np.linspace(0, photo.shape[0] - side, EACH).astype(int),
                np.linspace(0, photo.shape[1] - side, EACH).astype(int),
                strict=True,
            )
        ]
    )


@torch.inference_mode()
def _rounding(encoder: Encoder, squares: PIXELS, size: int, crop: Crop) -> dict[str, Any]:
    rounded = np.stack([np.asarray(to_square(Image.fromarray(square), size, crop)) for square in squares])
    served, trained = (
        encode(encoder, square_unit_range(torch.from_numpy(images), size, crop)).numpy()
        for images in (squares, rounded)
    )
    errors = relative_errors(served, trained)
    return {"images": len(squares), "median": float(np.median(errors)), "worst": float(errors.max())}
