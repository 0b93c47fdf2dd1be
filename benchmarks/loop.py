"""The pretraining loop as users run it: images per second, and the share that data and views take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.measure import device, timed
from infocl.config import EncoderParams, Params
from infocl.encoder.views import Views
from infocl.pretrain.learner import Learner
from infocl.pretrain.loading.resident import ResidentImages
from infocl.pretrain.loading.sampler import Order
from infocl.pretrain.optim import build_optimizer

FULL_SIZE = EncoderParams(arch="resnet18", stem="cifar", width=1.0, init="he", normalization="dataset")


@dataclass(frozen=True)
class LoopRow:
    """One setting of the loop."""

    what: str
    images_per_second: float
    views_share: float
    memory: str


def loop_rows(params: Params) -> list[LoopRow]:
    """The shipped setting; on a GPU also the full ResNet-18 of CIFAR's shape at batch 256 and 1024."""
    rows = [_measure(params, params.train.batch_size)]
    if device().type == "cuda":
        full = params.model_copy(update={"encoder": FULL_SIZE})
        rows += [_measure(full, batch) for batch in (256, 1024)]
    return rows


def _measure(params: Params, batch: int) -> LoopRow:
    size = params.data.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (4 * batch, size, size, 3), dtype=np.uint8)
    images = ResidentImages(pixels, None, Order(len(pixels), batch, 0, device=device()), device())
    views = Views(params.views, size)
    learner = Learner(params, [0.5] * 3, [0.25] * 3).to(device=device(), memory_format=torch.channels_last)
    optimizer = build_optimizer(params.train.optimizer, learner.parameters())
    noise = torch.Generator(device())

    def data_and_views() -> tuple[torch.Tensor, torch.Tensor]:
        return views(images.batch(0)[0], 0)

    def step() -> None:
        view1, view2 = data_and_views()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device().type, torch.bfloat16, enabled=params.train.precision == "bf16"):
            loss = learner(view1, view2, noise).value
        loss.backward()
        optimizer.step()

    whole, part = timed(step, repeats=15), timed(data_and_views, repeats=15)
    encoder = params.encoder
    memory = (
        f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if device().type == "cuda" else "none: CPU"
    )
    return LoopRow(
        f"{encoder.arch} x {encoder.width:g} ({encoder.stem} stem), {size} px, batch {batch}, "
        f"{params.objective.name} + {params.reg.name}, {params.train.precision}",
        batch / whole.median,
        part.median / whole.median,
        memory,
    )
