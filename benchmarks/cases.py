"""The comparisons. Each returns a row: what, the alternative, both figures, and their ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image

from benchmarks.measure import device, in_fresh_process, peak_memory_mib, timed
from infocl.config import Params
from infocl.encoder.views import Views, to_unit_range
from infocl.pretrain.regularizers.lbe import mi_lower_bound


@dataclass(frozen=True)
class Row:
    """One comparison; `ratio` is how many times better ours is (above 1) or worse (below 1)."""

    what: str
    ours: str
    alternative: str
    ratio: float


def broadcast_bound(noisy: torch.Tensor, mean: torch.Tensor, rho: float) -> torch.Tensor:
    """The same bound with all differences in memory, N x N x D, as the released code computes it."""
    logits = -rho * (noisy[:, None] - mean[None]).square().sum(-1)
    return (logits.diagonal() - logits.logsumexp(1)).mean() + math.log(len(mean))


BOUNDS = {"matrix": mi_lower_bound, "broadcast": broadcast_bound}


def _bound_inputs(count: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    mean = torch.randn(count, dim, device=device(), requires_grad=True)
    return mean + 0.1 * torch.randn(count, dim, device=device()), mean


def _bound_memory(kind: str, count: int, dim: int) -> float:
    bound = BOUNDS[kind]
    small = _bound_inputs(4, dim)
    bound(*small, 0.05).backward()
    noisy, mean = _bound_inputs(count, dim)
    return peak_memory_mib(lambda: bound(noisy, mean, 0.05).backward())


def lbe(count: int = 512, dim: int = 512) -> list[Row]:
    """LBE's bound, forward and backward, in matrix form against the broadcast form."""
    ours, other = BOUNDS
    times = {}
    for kind, bound in BOUNDS.items():
        noisy, mean = _bound_inputs(count, dim)
        times[kind] = timed(lambda b=bound, n=noisy, m=mean: b(n, m, 0.05).backward(retain_graph=True))
    memory = {kind: in_fresh_process(_bound_memory, kind, count, dim) for kind in times}
    what = f"LBE bound, N={count}, D={dim}, forward and backward"
    ratio = times[other].median / times[ours].median
    sizes = [f"{memory[kind]:.0f} MiB" for kind in BOUNDS]
    return [
        Row(f"{what}: time", f"{ours} form {times[ours]}", f"{other} form {times[other]}", ratio),
        Row(f"{what}: peak memory", *sizes, memory[other] / memory[ours]),
    ]


def views(params: Params, batch: int = 256) -> list[Row]:
    """Both views of a batch against Kornia's operations and torchvision's on PIL images, in one process."""
    v, size = params.views, params.data.image_size
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    ours = Views(v, size)
    resident = torch.from_numpy(images).to(device())
    pil = T.Compose(
        [
            T.RandomResizedCrop(size, scale=tuple(v.crop_scale), ratio=tuple(v.crop_ratio)),
            T.RandomHorizontalFlip(v.flip_p),
            T.RandomApply([T.ColorJitter(v.brightness, v.contrast, v.saturation, v.hue)], v.jitter_p),
            T.RandomGrayscale(v.grayscale_p),
            T.ToTensor(),
        ]
    )

    def by_pil() -> torch.Tensor:
        pictures = [Image.fromarray(image) for image in images]
        return torch.stack([pil(picture) for picture in pictures * 2]).to(device())

    fast = timed(lambda: ours(resident, 0))
    others = {
        "Kornia": timed(lambda: ours.augment(to_unit_range(resident).repeat(2, 1, 1, 1))),
        "torchvision on PIL": timed(by_pil, repeats=5),
    }
    return [
        Row(
            f"Both views of {batch} images of {size} px",
            f"{2 * batch / fast.median:.0f} views/s",
            f"{name} {2 * batch / slow.median:.0f} views/s",
            slow.median / fast.median,
        )
        for name, slow in others.items()
    ]
