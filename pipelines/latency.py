"""How long two encoders take for the same images, in one run, turn by turn."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from infocl.deploy.example import read_example
from infocl.deploy.exported import Export
from infocl.deploy.session import OnnxEncoder

IMAGES = 64
WARM_UP, ROUNDS = 3, 30


def seconds_of(folders: list[Path]) -> list[float]:
    """Median seconds of each exported encoder for 64 images of its own example.

    Raises:
        UserError: a folder is not a sound export.
    """
    encoders, batches = [], []
    for folder in folders:
        export = Export(folder)
        encoders.append(OnnxEncoder(export, "float32"))
        images = read_example(export)[0].images
        batches.append(np.resize(images, (IMAGES, *images.shape[1:])))
    taken: list[list[float]] = [[] for _ in folders]
    for turn in range(WARM_UP + ROUNDS):
        for index, (encoder, images) in enumerate(zip(encoders, batches, strict=True)):
            start = time.perf_counter()
            encoder.embed(images)
            if turn >= WARM_UP:
                taken[index].append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]
