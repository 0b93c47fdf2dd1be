"""Changes of an image by a known amount, one thing at a time, for a batch at once on its device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_hue,
    adjust_saturation_with_gray_subtraction,
)
from kornia.filters import gaussian_blur2d
from torch import Tensor

from infocl.config.audit import Factor

COLOURS = {  # as the views' colour jitter does them
    "brightness": adjust_brightness_accumulative,
    "contrast": adjust_contrast_with_mean_subtraction,
    "saturation": adjust_saturation_with_gray_subtraction,
}
TURNS = ("hue", "orientation")  # which come back to where they were after a whole turn


def draw_amounts(factor: Factor, limits: Sequence[float], count: int, seed: int) -> Tensor:
    """Amounts for `count` images, float32 (N, 2) for the position (rightwards, downwards), else (N, 1).

    Args:
        factor: what is changed.
        limits: smallest and largest amount, in the unit of `audit.ranges`; drawn evenly between them, an
            aspect by its logarithm.
        count: N.
        seed: of the draws, which are made on the CPU.
    """
    low, high = np.log(limits) if factor == "aspect" else limits
    amounts = np.random.default_rng(seed).uniform(low, high, (count, 2 if factor == "position" else 1))
    return torch.from_numpy(np.exp(amounts) if factor == "aspect" else amounts).float()


def wanted(factor: Factor, amounts: Tensor) -> Tensor:
    """What a probe is to tell of the amounts, float64 (N, K).

    Cosine and sine of a turn, whose ends meet; the logarithm of an aspect; otherwise the amount.
    """
    amounts = amounts.double()
    if factor in TURNS:
        angle = 2 * math.pi * amounts
        return torch.cat([angle.cos(), angle.sin()], 1)
    return amounts.log() if factor == "aspect" else amounts


def change(images: Tensor, factor: Factor, amounts: Tensor, limits: Sequence[float]) -> Tensor:
    """The changed images, (B, 3, H, W) in [0, 1].

    Position, scale, aspect and orientation look through a window into the image, enlarged to its size. The
    window never leaves the image, whatever the amount, so no border gives the amount away; for the same
    reason it has one size for all positions and for all orientations. What a window enlarges it also
    softens, so a scale can be told by the sharpness too.

    Args:
        images: (B, 3, H, W) in [0, 1].
        factor: what is changed.
        amounts: of `draw_amounts`, on the images' device.
        limits: between which they were drawn.
    """
    if factor == "hue":
        return adjust_hue(images, 2 * math.pi * amounts[:, 0]).clamp(0, 1)
    if factor in COLOURS:
        return COLOURS[factor](images, amounts[:, 0]).clamp(0, 1)
    if factor == "blur":
        side = images.shape[-1]
        kernel = 2 * math.ceil(3 * limits[1] * side) + 1  # px, three standard deviations to either side
        kernel = min(kernel, 2 * side - 1)
        return gaussian_blur2d(images, (kernel, kernel), (amounts * side).expand(-1, 2))
    grid = F.affine_grid(_window(factor, amounts, limits), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _window(factor: Factor, amounts: Tensor, limits: Sequence[float]) -> Tensor:
    """The part of the image that is seen, as an affine map (B, 2, 3) of -1..1 into it."""
    window = amounts.new_zeros(len(amounts), 2, 3)
    if factor == "position":
        window[:, 0, 0] = window[:, 1, 1] = 1 - 2 * max(map(abs, limits))
        window[:, :, 2] = -2 * amounts  # what is seen moves against the window
    elif factor == "scale":
        window[:, 0, 0] = window[:, 1, 1] = amounts[:, 0]
    elif factor == "aspect":
        wide = amounts[:, 0].sqrt()
        longest = math.sqrt(max(limits[1], 1 / limits[0]))
        window[:, 0, 0], window[:, 1, 1] = wide / longest, 1 / (wide * longest)
    else:
        angle = 2 * math.pi * amounts[:, 0]
        window[:, 0, 0] = window[:, 1, 1] = angle.cos() / math.sqrt(2)
        window[:, 0, 1], window[:, 1, 0] = -angle.sin() / math.sqrt(2), angle.sin() / math.sqrt(2)
    return window
