"""Encoder, objective and regulariser as one module with one loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from infocl.batch import Term, View
from infocl.config import Params
from infocl.encoders import Encoder, Levels
from infocl.objectives import build_objective
from infocl.regularizers import build_regularizer
from infocl.regularizers.base import Shapes


class Learner(nn.Module):
    """loss = objective(view 1, view 2) + weight * regulariser(view 1, view 2).

    Both views pass the encoder as one batch, so BatchNorm sees them together.
    """

    def __init__(self, params: Params, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.weight = params.reg.weight
        self.encoder = Encoder(params.encoder, mean, std)
        self.objective = build_objective(params.objective, self.encoder.dim)
        shapes = Shapes(self.encoder.level_dims, params.data.image_size)
        self.regularizer = build_regularizer(params.reg, shapes)

    def forward(self, images1: Tensor, images2: Tensor, generator: torch.Generator) -> Term:
        """The loss of two batches of views.

        Args:
            images1: views 1 in [0, 1], (B, 3, H, W).
            images2: views 2 of the same images.
            generator: of the regulariser's noise, on the views' device.

        Returns:
            The loss, with parts `objective`, `regularizer` (unweighted), `feature_spread`, and each
            term's own parts behind its name.
        """
        pixels = self.encoder.normalize(torch.cat([images1, images2]))
        clean = Levels(*(level.float() for level in self.encoder.forward_levels(pixels)))
        levels = self.regularizer.perturb(clean, generator)
        view1, view2 = _split(pixels, clean, levels)
        objective, regularizer = self.objective(view1, view2), self.regularizer(view1, view2)
        loss = objective.value + self.weight * regularizer.value
        parts = {"objective": objective.value.detach(), "regularizer": regularizer.value.detach()}
        parts |= {f"objective_{name}": value for name, value in objective.parts.items()}
        parts |= {f"regularizer_{name}": value for name, value in regularizer.parts.items()}
        parts["feature_spread"] = feature_spread(clean.level4.detach())
        return Term(loss, parts)


def _split(pixels: Tensor, clean: Levels, levels: Levels) -> tuple[View, View]:
    half = len(pixels) // 2
    views = [
        View(pixels[part], Levels(*(x[part] for x in clean)), Levels(*(x[part] for x in levels)))
        for part in (slice(half), slice(half, None))
    ]
    return views[0], views[1]


def feature_spread(features: Tensor) -> Tensor:
    """How far L2-normalised features (B, D) spread: 0 when all point one way, 1 when uniform.

    The root of the summed variance over dimensions; a collapsed encoder's tends to 0
    (Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1).
    """
    unit = nn.functional.normalize(features, dim=1)
    return unit.var(dim=0, correction=0).sum().sqrt()
