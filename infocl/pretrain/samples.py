"""A few images beside their views, as an array for whoever draws them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infocl.encoder.views import Views, to_unit_range

Sheet = npt.NDArray[np.uint8]  # (rows, B, S, S, 3); a column is an image and its views


def sample_views(views: Views, images: Tensor, seed: int, pairs: int = 2) -> Sheet:
    """The images, and below each its views.

    Args:
        views: what draws them.
        images: uint8 (B, S, S, 3).
        seed: of the draws.
        pairs: how many times both views are drawn.
    """
    rows = [to_unit_range(images)]
    for pair in range(pairs):
        rows += views(images, seed + pair)
    levels = torch.stack(rows).clamp(0, 1).mul(255).round().to(torch.uint8)
    sheet: Sheet = levels.permute(0, 1, 3, 4, 2).cpu().numpy()
    return sheet
