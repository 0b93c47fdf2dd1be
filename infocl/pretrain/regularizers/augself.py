"""AugSelf: predicts from both views' representations what differed between their augmentations."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infocl.encoder.augment import Drawn
from infocl.encoder.numerics import full_precision
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.regularizers.base import Regularizer, Shapes
from infocl.pretrain.regularizers.params import AugSelfParams


class Differences(NamedTuple):
    """What differed between the augmentations of N pairs of views.

    Attributes:
        crop: (N, 4), centre x and y of the first less the second, as the first one shows it (mirrored where
            it is), then width and height likewise; shares of the image's side, in -1..1.
        color: (N, 4), brightness, contrast, saturation and hue of the first less the second, in -1..1: a
            strength counts from its mean, in units of the range that it is drawn from.
        flip: (N, 1), 1 where both are mirrored or neither, otherwise 0.
    """

    crop: Tensor
    color: Tensor
    flip: Tensor

    @classmethod
    def between(cls, drawn: Drawn, jitter: tuple[float, ...]) -> Differences:
        """Of 2B rows, view 1 above view 2: first (view 1, view 2) of each image, then (view 2, view 1)."""
        center, extent, color, mirrored = (
            _less(part) for part in (drawn.center, drawn.extent, drawn.color, drawn.mirrored)
        )
        x = center[:, :1] * (1 - 2 * drawn.mirrored[:, None])
        parts = zip(color.unbind(1), jitter, strict=True)
        scaled = [part / (2 * strength) if strength else torch.zeros_like(part) for part, strength in parts]
        crop = torch.cat([x, center[:, 1:], extent], 1)
        return cls(crop, torch.stack(scaled, 1), 1 - mirrored[:, None].abs())


def _less(rows: Tensor) -> Tensor:
    """Of each view, what the other one of its image lacks: rows of view 1 above those of view 2."""
    return rows - rows.roll(len(rows) // 2, 0)


@full_precision
def regression_error(predicted: Tensor, difference: Tensor) -> Tensor:
    """Mean squared error of tanh(predicted) over N rows and K columns, both (N, K), differences in -1..1."""
    return F.mse_loss(torch.tanh(predicted), difference)


@full_precision
def flip_error(predicted: Tensor, flip: Tensor) -> Tensor:
    """Binary cross-entropy in nats of log-odds (N, 1) that flip (N, 1) is 1."""
    return F.binary_cross_entropy_with_logits(predicted, flip)


class AugSelf(Regularizer):
    """Predicts what differed between the views' crops, colour jitters and flips from (z1, z2) and (z2, z1).

    What two views do not share, colour for instance, must then be in both representations, so that their
    difference can be told. Each part has a predictor of its own: three linear layers, the first two
    without bias and followed by BatchNorm and ReLU. The term is the sum of the parts' errors by their
    weights, each the mean of both orders. Parts: `crop_error`, `color_error` (squared, of differences in
    -1..1), `flip_error` (nats), of those that are weighted.

    Reference: Lee et al., "Improving Transferability of Representations via Augmentation-Aware
    Self-Supervision", NeurIPS 2021, with crop and colour at weight 1.
    """

    def __init__(self, params: AugSelfParams, shapes: Shapes) -> None:
        super().__init__()
        self.size, self.jitter = shapes.image_size, shapes.jitter
        weights = {"crop": params.crop, "color": params.color, "flip": params.flip}
        self.weights = {name: weight for name, weight in weights.items() if weight}
        outputs, dim = {"crop": 4, "color": 4, "flip": 1}, 2 * shapes.level_dims[-1]
        self.predictors = nn.ModuleDict(
            {name: predictor(dim, params.hidden, outputs[name]) for name in self.weights}
        )

    def forward(self, batch: Batch) -> LossTerm:
        """The weighted sum of the parts' errors."""
        if batch.plan is None:
            raise ValueError("AugSelf predicts what was drawn for the views, but the batch does not say it")
        own = batch.group.share(len(batch.view1.clean.level4))
        z1, z2 = batch.view1.clean.level4[own], batch.view2.clean.level4[own]
        pairs = torch.cat([torch.cat([z1, z2], 1), torch.cat([z2, z1], 1)])
        found = Differences.between(Drawn.of(batch.plan.to(z1.dtype), self.size), self.jitter)
        value, parts = z1.new_zeros(()), {}
        for name, weight in self.weights.items():
            error = flip_error if name == "flip" else regression_error
            part = batch.group.mean(error(self.predictors[name](pairs), getattr(found, name)))
            value = value + weight * part
            parts[f"{name}_error"] = part.detach()
        return LossTerm(value, parts)


def predictor(dim: int, hidden: int, outputs: int) -> nn.Sequential:
    """(N, dim) to (N, outputs) through two hidden layers, as released (with 512 units)."""
    return nn.Sequential(
        nn.Linear(dim, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, outputs),
    )
