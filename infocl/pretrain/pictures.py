"""Contact sheets: what the views look like, and what a decoder can rebuild."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from infocl.encoder.views import Views, to_unit_range
from infocl.pretrain.learner import Learner
from infocl.runtime.files import replacing

SMALLEST_SIDE = 64  # px; smaller images are enlarged so that a person can see them


def write_view_sheet(path: Path, views: Views, images: Tensor, seed: int, pairs: int = 2) -> None:
    """One column per image: the image on top, its views below.

    Args:
        path: of the PNG file.
        views: what draws them.
        images: uint8 (B, H, W, 3).
        seed: of the draws.
        pairs: how many times both views are drawn.
    """
    rows = [to_unit_range(images)]
    for pair in range(pairs):
        rows += views(images, seed + pair)
    _write_rows(path, rows)


@torch.no_grad()
def write_reconstructions(path: Path, learner: Learner, images: Tensor) -> None:
    """The images above what the regulariser's decoder makes of them; no file where it has none."""
    encoder = learner.encoder
    unit = to_unit_range(images)
    decoded = learner.regularizer.reconstruct(encoder(unit))
    if decoded is not None:
        _write_rows(path, [unit, (decoded * encoder.std + encoder.mean).clamp(0, 1)])


def _write_rows(path: Path, rows: list[Tensor]) -> None:
    scale = max(1, SMALLEST_SIDE // rows[0].shape[-1])
    tiles = torch.cat(rows).cpu().repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    picture = to_pil_image(make_grid(tiles, nrow=len(rows[0]), padding=2 * scale, pad_value=1.0))
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
