"""What images look like in five plain numbers, without any encoder."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
LOOKS = ("brightness", "contrast", "saturation", "warmth", "sharpness")
CHUNK = 256  # images in floating point at a time


def looks(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Five numbers for each image.

    They are the luma's mean and standard deviation, the means of largest - smallest colour and of red - blue,
    and the mean absolute difference of the luma between neighbouring pixels.

    Args:
        images: uint8 (N, S, S, 3), S at least 2 px.

    Returns:
        (N, 5), in the order of `LOOKS`; warmth in -1..1, all others in 0..1.
    """
    parts = [_looks(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
    return np.concatenate([np.empty((0, len(LOOKS))), *parts])


def _looks(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    colours = images.astype(np.float32) / 255
    luma = colours @ LUMA
    steps = [np.abs(np.diff(luma, axis=axis)).mean((1, 2)) for axis in (1, 2)]
    numbers = (
        luma.mean((1, 2)),
        luma.std((1, 2)),
        (colours.max(3) - colours.min(3)).mean((1, 2)),
        (colours[..., 0] - colours[..., 2]).mean((1, 2)),
        (steps[0] + steps[1]) / 2,
    )
    return np.stack(numbers, axis=1).astype(np.float64)
