"""The pretraining loop as users run it: images per second, the host's part, the share of data and views."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import device, synchronize, timed
from infocl.config import EncoderParams, Params
from infocl.prepared.reader import load_prepared
from infocl.pretrain import loop, training
from infocl.pretrain.parallel.process_group import ALONE
from infocl.runtime.history import History
from tests.workspace import write_set

FULL_SIZE = EncoderParams(arch="resnet18", stem="cifar", width=1.0, init="he", normalization="dataset")
LARGE = FULL_SIZE.model_copy(update={"arch": "resnet50", "stem": "imagenet"})
LOOP_TITLES = "images/s", "share of data and views", "host, ms a step", "device memory"
WARM_UP = 8  # steps: cuDNN's choice of algorithms, a compiler's work, a graph's capture
WINDOWS = 3


@dataclass(frozen=True)
class LoopRow:
    """One setting of the loop."""

    what: str
    images_per_second: float
    views_share: float
    host_ms: float
    memory: str

    def cells(self) -> tuple[str, ...]:
        """As a row of a table."""
        speed = f"{self.images_per_second:.0f}", f"{self.views_share:.0%}", f"{self.host_ms:.1f}"
        return self.what, *speed, self.memory


def resized(params: Params, encoder: EncoderParams, size: int, batch: int) -> Params:
    """The params with another encoder, image size and batch."""
    data = params.data.model_copy(update={"image_size": size})
    train = params.train.model_copy(update={"batch_size": batch})
    return params.model_copy(update={"encoder": encoder, "data": data, "train": train})


def set_up(params: Params) -> training.Training:
    """A run on random pixels, set up as pretraining does it."""
    batch, size = params.train.batch_size, params.data.image_size
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2 * batch, size, size, 3), dtype=np.uint8)
    splits = {"train": (images, np.arange(2 * batch) % 10), "test": (images[:10], np.arange(10))}
    about = {"classes": [str(number) for number in range(10)], "mean": [0.5] * 3, "std": [0.25] * 3}
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), splits, name=params.data.name, **about)
        return training._set_up(params, load_prepared(Path(folder)), Path("random"), ALONE, device())


def measure(params: Params, steps: int = 10) -> LoopRow:
    """Steps one after another, waited for at a window's end; views and the host's part by themselves."""
    run, history = set_up(params), History([])
    if device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    run.learner.train()
    with training.tuned(run.device):
        for step in range(WARM_UP):
            loop._step(run, history, step)
        seconds = window(lambda step: loop._step(run, history, step), steps)
        host = [_until_returned(lambda step=step: loop._step(run, history, step)) for step in range(steps)]
        views = timed(lambda: run.views(run.images.batch(0)[0], 0), repeats=15)
    encoder, size, batch = params.encoder, params.data.image_size, params.train.batch_size
    memory = (
        f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if device().type == "cuda" else "none: CPU"
    )
    return LoopRow(
        f"{encoder.arch} x {encoder.width:g} ({encoder.stem} stem), {size} px, batch {batch}, "
        f"{params.objective.name} + {params.reg.name}, {params.train.precision}",
        batch / seconds,
        views / seconds,
        1e3 * statistics.median(host),
        memory,
    )


def window(step: Callable[[int], object], steps: int) -> float:
    """Seconds a step takes among others: the median over windows of so many."""
    seconds = []
    for _ in range(WINDOWS):
        synchronize()
        start = time.perf_counter()
        for number in range(steps):
            step(number)
        synchronize()
        seconds.append((time.perf_counter() - start) / steps)
    return statistics.median(seconds)


def _until_returned(work: Callable[[], object]) -> float:
    """Seconds until the host is free again, the device idle before."""
    synchronize()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
