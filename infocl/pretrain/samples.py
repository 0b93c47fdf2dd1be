"""A few images beside their views and reconstructions, as arrays for whoever draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infocl.encoder.views import Views, to_unit_range
from infocl.pretrain.learner import Learner

Sheet = npt.NDArray[np.uint8]  # (rows, B, S, S, 3); a column is an image and what was made of it


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
    return _sheet(rows)


@torch.no_grad()
def sample_reconstructions(learner: Learner, images: Tensor) -> Sheet | None:
    """The images, and below each what the regulariser's decoder makes of it; None where it has none."""
    encoder = learner.encoder
    unit = to_unit_range(images)
    decoded = learner.regularizer.reconstruct(encoder(unit))
    return None if decoded is None else _sheet([unit, decoded * encoder.std + encoder.mean])


def _sheet(rows: Sequence[Tensor]) -> Sheet:
    levels = torch.stack(list(rows)).clamp(0, 1).mul(255).round().to(torch.uint8)
    sheet: Sheet = levels.permute(0, 1, 3, 4, 2).cpu().numpy()
    return sheet
