"""Encoder, objective and regulariser as one module with one loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from infocl.batch import Batch, Term, View
from infocl.config import Params
from infocl.encoders import Encoder, Levels
from infocl.numerics import at_least_float32
from infocl.objectives import build_objective
from infocl.regularizers import build_regularizer
from infocl.regularizers.base import Shapes

T = TypeVar("T")


class Learner(nn.Module):
    """loss = objective(batch) + weight * regulariser(batch).

    Both views pass the encoder as one batch, so BatchNorm sees them together. An objective with a
    momentum target has a second encoder here, which follows the first after each step; its BatchNorm
    layers normalise by the batch and keep running statistics of their own.

    Args:
        params: all of params.yaml.
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images.
        classes: of the labels; 0 for unlabelled data.
    """

    def __init__(self, params: Params, mean: list[float], std: list[float], classes: int = 0) -> None:
        super().__init__()
        self.weight = params.reg.weight
        self.encoder = Encoder(params.encoder, mean, std)
        self.objective = build_objective(params.objective, self.encoder.dim, classes)
        shapes = Shapes(self.encoder.level_dims, params.data.image_size)
        self.regularizer = build_regularizer(params.reg, shapes)
        self.target: Encoder | None = None
        if self.objective.momentum(0, 1) is not None:
            self.target = copy.deepcopy(self.encoder).requires_grad_(False)

    def forward(
        self, images1: Tensor, images2: Tensor, generator: torch.Generator, labels: Tensor | None = None
    ) -> Term:
        """The loss of two batches of views.

        Args:
            images1: views 1 in [0, 1], (B, 3, H, W).
            images2: views 2 of the same images.
            generator: of the regulariser's noise, on the views' device.
            labels: classes int64 (B,), where the data have them.

        Returns:
            The loss, with parts `objective`, `regularizer` (unweighted), `feature_spread`, and each
            term's own parts behind its name.
        """
        pixels = self.encoder.normalize(torch.cat([images1, images2]))
        clean = self._encode(pixels)
        levels = self.regularizer.perturb(clean, generator)
        view1, view2 = _split(pixels, clean, levels, self._by_target(pixels))
        embed = untracked(self.objective, self.objective.embed)
        encode = untracked(self.encoder, self._encode)
        batch = Batch(view1, view2, labels, embed, encode, generator)
        objective, regularizer = self.objective(batch), self.regularizer(batch)
        loss = objective.value + self.weight * regularizer.value
        parts = {"objective": objective.value.detach(), "regularizer": regularizer.value.detach()}
        parts |= {f"objective_{name}": value for name, value in objective.parts.items()}
        parts |= {f"regularizer_{name}": value for name, value in regularizer.parts.items()}
        parts["feature_spread"] = feature_spread(clean.level4.detach())
        return Term(loss, parts)

    def _encode(self, pixels: Tensor) -> Levels:
        return Levels(*(at_least_float32(level) for level in self.encoder.forward_levels(pixels)))

    @torch.no_grad()
    def _by_target(self, pixels: Tensor) -> Tensor | None:
        return None if self.target is None else self.target.forward_levels(pixels).level4

    @torch.no_grad()
    def after_step(self, step: int, total_steps: int) -> None:
        """Let the momentum target, if there is one, follow the weights after the update of `step`."""
        share = self.objective.momentum(step, total_steps)
        if share is None or self.target is None:
            return
        pairs = [(self.encoder, self.target), *self.objective.target_modules().values()]
        online: list[Tensor] = [weight for module, _ in pairs for weight in module.parameters()]
        target: list[Tensor] = [weight for _, module in pairs for weight in module.parameters()]
        get_ema_multi_avg_fn(share)(target, online, step)  # type: ignore[no-untyped-call]


def _split(pixels: Tensor, clean: Levels, levels: Levels, target: Tensor | None) -> tuple[View, View]:
    half = len(pixels) // 2
    views = [
        View(
            pixels[part],
            Levels(*(x[part] for x in clean)),
            Levels(*(x[part] for x in levels)),
            None if target is None else target[part],
        )
        for part in (slice(half), slice(half, None))
    ]
    return views[0], views[1]


def untracked(module: nn.Module, function: Callable[[Tensor], T]) -> Callable[[Tensor], T]:
    """`function`, during which the BatchNorm layers of `module` keep their running statistics.

    They still normalise by the batch. A regulariser's further pass must not change what the exported
    encoder normalises by.
    """

    def wrapped(inputs: Tensor) -> T:
        layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
        tracked = [layer.track_running_stats for layer in layers]
        try:
            for layer in layers:
                layer.track_running_stats = False
            return function(inputs)
        finally:
            for layer, before in zip(layers, tracked, strict=True):
                layer.track_running_stats = before

    return wrapped


def feature_spread(features: Tensor) -> Tensor:
    """How far L2-normalised features (B, D) spread: 0 when all point one way, 1 when uniform.

    The root of the summed variance over dimensions; a collapsed encoder's tends to 0
    (Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1).
    """
    unit = nn.functional.normalize(features, dim=1)
    return unit.var(dim=0, correction=0).sum().sqrt()
