"""Encoder, objective and regulariser as one module with one loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from infocl.config import Params
from infocl.encoder.network import Encoder, Levels
from infocl.encoder.numerics import at_least_float32
from infocl.pretrain.batch import Batch, LossTerm, Noise, View
from infocl.pretrain.batchnorm import ByView, split_by_view
from infocl.pretrain.objectives import build_objective
from infocl.pretrain.parallel.batchnorm import synchronize
from infocl.pretrain.parallel.process_group import ALONE, ProcessGroup
from infocl.pretrain.regularizers import build_regularizer
from infocl.pretrain.regularizers.base import Shapes

T = TypeVar("T")


class Learner(nn.Module):
    """loss = objective(batch) + weight * regulariser(batch).

    Both views pass all layers as one batch; `train.batch_norm` says whether BatchNorm normalises them
    together or each by itself. An objective with a momentum target has a second encoder here, which follows
    the first after each step; its BatchNorm layers normalise by the batch and keep running statistics of
    their own.

    Args:
        params: all of params.yaml.
        mean: per-channel mean of the training images, in [0, 1].
        std: per-channel standard deviation of the training images.
        classes: of the labels; 0 for unlabelled data.
    """

    def __init__(self, params: Params, mean: list[float], std: list[float], classes: int = 0) -> None:
        super().__init__()
        self.weight = params.reg.weight
        self.group = ALONE
        self.encoder = Encoder(params.encoder, mean, std)
        self.objective = build_objective(params.objective, self.encoder.dim, classes)
        self.views = self.objective.views
        views = params.views
        jitter = (views.brightness, views.contrast, views.saturation, views.hue)
        shapes = Shapes(self.encoder.level_dims, params.data.image_size, jitter)
        self.regularizer = build_regularizer(params.reg, shapes)
        self.target: Encoder | None = None
        if self.objective.momentum(0, 1) is not None:
            self.target = copy.deepcopy(self.encoder).requires_grad_(False)
        self.by_view = params.train.batch_norm == "per_view" and self.views > 1
        if self.by_view:
            split_by_view(self, self.views)

    def distribute(self, group: ProcessGroup, device: torch.device) -> None:
        """From here on, take each batch as one process's share of the batch of `world`.

        The BatchNorm layers that see only a share are synchronised: those of the encoder, of its
        target and of the regulariser. The objective works on all features in every process.
        """
        self.group = group
        for module in (self.encoder, self.target, self.regularizer):
            if module is not None:
                synchronize(module, group, device)
        if self.by_view:
            split_by_view(self, self.views)

    def draw(self, images: int, generator: torch.Generator) -> Noise:
        """What the regulariser draws for so many images; the generator is of the weights' device."""
        return self.regularizer.draw(self.views * images, generator, next(self.encoder.parameters()))

    def forward(
        self,
        images1: Tensor,
        images2: Tensor | None,
        noise: Noise = (),
        labels: Tensor | None = None,
        plan: Tensor | None = None,
    ) -> LossTerm:
        """The loss of two batches of views, or of one where the objective has `views` 1.

        Args:
            images1: views 1 in [0, 1], (B, 3, H, W), or this process's share of them.
            images2: views 2 of the same images; None where there is one view.
            noise: of the regulariser, from `draw`; alike in every process.
            labels: classes int64 (B,) of the whole batch, where the data have them.
            plan: what was drawn for these views, for a regulariser that asks for it.

        Returns:
            The loss, with parts `objective`, `regularizer` (unweighted), `feature_spread`, and each
            term's own parts behind its name.
        """
        pixels = self.encoder.normalize(images1 if images2 is None else torch.cat([images1, images2]))
        clean = Levels(*self.group.gather_views(self._encode(pixels), self.views))
        levels = self.regularizer.perturb(clean, noise)
        views = _split(self.views, pixels, clean, levels, self._by_target(pixels))
        embed = untracked(self.objective, self.objective.embed, len(views[0].features))
        encode = untracked(self.encoder, self._encode_share, len(images1))
        second = views[1] if self.views == 2 else None
        batch = Batch(views[0], second, labels, embed, encode, noise, plan, self.group)
        objective, regularizer = self.objective(batch), self.regularizer(batch)
        loss = objective.value + self.weight * regularizer.value
        parts = {"objective": objective.value.detach(), "regularizer": regularizer.value.detach()}
        parts |= {f"objective_{name}": value for name, value in objective.parts.items()}
        parts |= {f"regularizer_{name}": value for name, value in regularizer.parts.items()}
        parts["feature_spread"] = feature_spread(clean.level4.detach())
        return LossTerm(loss, parts)

    def _encode(self, pixels: Tensor) -> Levels:
        return Levels(*(at_least_float32(level) for level in self.encoder.forward_levels(pixels)))

    def _encode_share(self, pixels: Tensor) -> Levels:
        return Levels(*(self.group.gather(level) for level in self._encode(pixels)))

    @torch.no_grad()
    def _by_target(self, pixels: Tensor) -> Tensor | None:
        if self.target is None:
            return None
        return self.group.gather_views([self.target.forward_levels(pixels).level4], self.views)[0]

    def pull(self, step: int, total_steps: int) -> Tensor | None:
        """The share of its way to the weights that a momentum target goes after a step; None without one."""
        kept = self.objective.momentum(step, total_steps)
        if kept is None:
            return None
        weight = next(self.encoder.parameters())
        return torch.full((), 1 - kept, dtype=weight.dtype, device=weight.device)

    @torch.no_grad()
    def follow(self, pull: Tensor | None) -> None:
        """Let the momentum target, if there is one, follow the weights after an update."""
        if pull is None or self.target is None:
            return
        pairs = [(self.encoder, self.target), *self.objective.target_modules().values()]
        online: list[Tensor] = [weight for module, _ in pairs for weight in module.parameters()]
        target: list[Tensor] = [weight for _, module in pairs for weight in module.parameters()]
        ways = torch._foreach_sub(online, target)
        torch._foreach_mul_(ways, pull)
        torch._foreach_add_(target, ways)


def _split(
    views: int, pixels: Tensor, clean: Levels, levels: Levels, target: Tensor | None
) -> tuple[View, ...]:
    seen = [pixels.chunk(views), *(level.chunk(views) for level in (*clean, *levels))]
    targets = (None,) * views if target is None else target.chunk(views)
    return tuple(
        View(part[0], Levels(*part[1:4]), Levels(*part[4:]), of_target)
        for part, of_target in zip(zip(*seen, strict=True), targets, strict=True)
    )


def untracked(module: nn.Module, function: Callable[[Tensor], T], images: int) -> Callable[[Tensor], T]:
    """`function`, during which the BatchNorm layers of `module` keep their running statistics.

    They still normalise by the batch, those of `train.batch_norm: per_view` by each `images` rows of it. A
    regulariser's further pass must not change what the exported encoder normalises by.
    """

    def wrapped(inputs: Tensor) -> T:
        layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
        split = [layer for layer in layers if isinstance(layer, ByView)]
        tracked = [layer.track_running_stats for layer in layers]
        views = [layer.views for layer in split]
        try:
            for layer in layers:
                layer.track_running_stats = False
            for by_view in split:
                by_view.views = len(inputs) // images
            return function(inputs)
        finally:
            for layer, before in zip(layers, tracked, strict=True):
                layer.track_running_stats = before
            for by_view, count in zip(split, views, strict=True):
                by_view.views = count

    return wrapped


def feature_spread(features: Tensor) -> Tensor:
    """How far L2-normalised features (B, D) spread: 0 when all point one way, 1 when uniform.

    The root of the summed variance over dimensions; a collapsed encoder's tends to 0
    (Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1).
    """
    unit = nn.functional.normalize(features, dim=1)
    return unit.var(dim=0, correction=0).sum().sqrt()
