"""Optimisers by name, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from infocl.config import OptimizerParams, ScheduleParams
from infocl.pretrain.lars import LARS


def build_optimizer(
    params: OptimizerParams, weights: Iterable[nn.Parameter], *, graph: bool = False
) -> torch.optim.Optimizer:
    """The optimiser that `train.optimizer.name` asks for; its learning rate is set at each step.

    Weights that ask for no gradient, such as a momentum target's, are left out. LARS does not decay
    biases and BatchNorm (SimCLR, BYOL, Barlow Twins); the others decay all weights (SimSiam). On CUDA all
    weights move in a few launches; for a CUDA graph (`graph`) the rate and the count of steps lie there.
    """
    weights = [weight for weight in weights if weight.requires_grad]
    device = weights[0].device
    fused = device.type == "cuda"
    rate = torch.tensor(params.lr, dtype=weights[0].dtype, device=device) if graph else params.lr
    if params.name == "sgd":
        return torch.optim.SGD(
            weights, lr=rate, momentum=params.momentum, weight_decay=params.weight_decay, fused=fused
        )
    if params.name == "lars":
        return LARS(
            weights,
            lr=rate,
            momentum=params.momentum,
            weight_decay=params.weight_decay,
            trust_coefficient=params.trust_coefficient,
            lr_inside=params.lr_placement == "inside",
        )
    kind = torch.optim.AdamW if params.name == "adamw" else torch.optim.Adam
    return kind(weights, lr=rate, weight_decay=params.weight_decay, fused=fused, capturable=graph)


def learning_rate(
    step: int, *, peak: float, schedule: ScheduleParams, steps_per_epoch: int, total_steps: int
) -> float:
    """The learning rate of a step: linear warm-up, then constant or a half cosine to zero.

    Args:
        step: counted from 0.
        peak: the rate after the warm-up.
        schedule: the course.
        steps_per_epoch: to turn the warm-up's epochs into steps.
        total_steps: where the cosine reaches zero.

    Reference: warm-up and cosine as in SimCLR (Chen et al. 2020), apart from its first step, whose
    rate is zero there; constant as in Wang et al., CVPR 2022.
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule.name == "constant":
        return peak
    progress = (step - warmup) / max(1, total_steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
