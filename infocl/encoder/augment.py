"""The arithmetic of the views: what was drawn for an image is one row of numbers; all rows are done at once.

Kornia draws and defines; its own operations would take more than twice as many launches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # Kornia's numbers of the operations
BLENDS = 7  # up to three before the shift of hue, up to three after it, greyscale
LUMA = (0.299, 0.587, 0.114)


def plan_views(
    crop: Mapping[str, Tensor],
    flip: Mapping[str, Tensor],
    jitter: Mapping[str, Tensor],
    grey: Mapping[str, Tensor],
    order: Tensor,
    size: int,
) -> Tensor:
    """What Kornia drew for N views as one tensor, which goes to the device in one copy.

    Args:
        crop: of `RandomResizedCrop`; `src` (N, 4, 2) are the corners in px.
        flip: of `RandomHorizontalFlip`.
        jitter: of `ColorJitter`, the factors of its operations (N,).
        grey: of `RandomGrayscale`.
        order: the operation at each of four places, (N, 4).
        size: side of the views in px.

    Returns:
        float (N, 26): the pixel of the source under the first one of the view, x and y; source px per px of
        the view, x and y, where a mirrored view goes leftwards; the shift of hue in sixths of a turn; and
        for each of `BLENDS` the shares of the image, of its mean luma and of its luma.
    """
    first, last = crop["src"][:, 0], crop["src"][:, 2]
    step = (last - first) / (size - 1)
    mirrored = flip["batch_prob"] > 0.5
    x = torch.where(mirrored, last[:, 0], first[:, 0])
    dx = torch.where(mirrored, -step[:, 0], step[:, 0])
    coloured = jitter["batch_prob"] > 0.5
    factors = torch.stack([jitter[f"{name}_factor"] for name in ("brightness", "contrast", "saturation")], 1)
    factors = torch.where(coloured[:, None], factors, 1.0)
    hue = torch.where(coloured, jitter["hue_factor"], 0.0) * 6
    blends = _blends(factors, order, grey["batch_prob"] > 0.5)
    return torch.cat([torch.stack([x, first[:, 1], dx, step[:, 1], hue], 1), blends.flatten(1)], 1)


def _blends(factors: Tensor, order: Tensor, grey: Tensor) -> Tensor:
    """Shares (N, BLENDS, 3) of the image, its mean luma and its luma; (1, 0, 0) leaves the image as it is."""
    is_hue = order == HUE
    after_hue = torch.arange(4) >= is_hue.int().argmax(1, keepdim=True)
    # Two places are added before what follows the hue, so that it lands in the second three.
    place = torch.arange(4) + 2 * after_hue
    place = torch.where(is_hue, BLENDS, place)  # one too many, cut off below
    own = torch.ones(len(order), BLENDS + 1, dtype=factors.dtype)
    own = own.scatter(1, place, factors.gather(1, order.clamp(max=SATURATION)))
    operation = torch.full((len(order), BLENDS + 1), BRIGHTNESS).scatter(1, place, order)
    mean_luma = (1 - own) * (operation == CONTRAST)
    luma = (1 - own) * (operation == SATURATION)
    own[:, BLENDS - 1] = (~grey).to(own.dtype)
    luma[:, BLENDS - 1] = grey.to(own.dtype)
    return torch.stack([own, mean_luma, luma], 2)[:, :BLENDS]


class Drawn(NamedTuple):
    """What the rows of a plan do to N images, in the terms in which it was drawn.

    Attributes:
        center: of the crop, (N, 2), x and y as shares of the image's side.
        extent: of the crop, (N, 2), width and height likewise.
        mirrored: whether the view is, (N,), 1 or 0.
        color: (N, 4): factors of brightness, contrast and saturation, which are 1 without jitter, and the
            shift of hue in turns, which is 0 without.
    """

    center: Tensor
    extent: Tensor
    mirrored: Tensor
    color: Tensor

    @classmethod
    def of(cls, plan: Tensor, size: int) -> Drawn:
        """Read the rows (N, 26) of `plan_views`, for views and images of `size` px."""
        first, step = plan[:, :2], plan[:, 2:4]
        center = (first + step * (size - 1) / 2 + 0.5) / size
        extent = (step.abs() * (size - 1) + 1) / size
        own, mean_luma, luma = plan[:, 5:].view(-1, BLENDS, 3)[:, :-1].unbind(2)  # without greyscale
        brightness = torch.where(mean_luma + luma == 0, own, 1.0).prod(1)
        color = [brightness, 1 - mean_luma.sum(1), 1 - luma.sum(1), plan[:, 4] / 6]
        return cls(center, extent, (step[:, 0] < 0).to(plan.dtype), torch.stack(color, 1))


def apply_plan(images: Tensor, plan: Tensor, size: int) -> Tensor:
    """The views of a plan.

    Args:
        images: uint8 (B, H, W, 3).
        plan: of `plan_views` for the V views of each image, (V * B, 26), on the images' device: view 1 of all
            images, then view 2.
        size: side of the views in px.

    Returns:
        In the plan's floating type, (V * B, 3, size, size) in [0, 1].
    """
    views = _crop(images, plan, size)
    shares = plan[:, 5:].view(-1, BLENDS, 3, 1, 1, 1).unbind(1)
    for each in shares[:3]:
        views = _blend(views, *each.unbind(1))
    views = _shift_hue(views, plan[:, 4, None, None])
    for each in shares[3:]:
        views = _blend(views, *each.unbind(1))
    return views


def _crop(images: Tensor, plan: Tensor, size: int) -> Tensor:
    """Bilinear, corner pixel onto corner pixel, the mirrored ones from right to left."""
    height, width = images.shape[1:3]
    pixels = torch.arange(size, device=plan.device, dtype=plan.dtype)
    x = (plan[:, 0:1] + plan[:, 2:3] * pixels) * (2 / (width - 1)) - 1
    y = (plan[:, 1:2] + plan[:, 3:4] * pixels) * (2 / (height - 1)) - 1
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], 3)
    unit = (images.permute(0, 3, 1, 2).to(plan.dtype) / 255).repeat(len(plan) // len(images), 1, 1, 1)
    return F.grid_sample(unit, grid, align_corners=True, padding_mode="border")


def _blend(views: Tensor, own: Tensor, mean_luma: Tensor, luma: Tensor) -> Tensor:
    red, green, blue = (views[:, channel : channel + 1] for channel in range(3))
    grey = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return torch.addcmul(mean_luma * grey.mean((2, 3), keepdim=True) + luma * grey, own, views).clamp(0, 1)


def _shift_hue(views: Tensor, sixths: Tensor) -> Tensor:
    """Turn the hue of (N, 3, S, S) by sixths (N, 1, 1) of a turn; value and chroma stay."""
    red, green, blue = views.unbind(1)
    value = views.amax(1)
    chroma = value - views.amin(1)
    divisor = torch.where(chroma == 0, 1.0, chroma)
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    turned = torch.stack([hue + sixths + offset for offset in (5, 3, 1)], 1).remainder(6)
    return value[:, None] - chroma[:, None] * torch.minimum(turned, 4 - turned).clamp(0, 1)
