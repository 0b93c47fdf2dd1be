"""The network's queue: requests that wait while it is busy are embedded together where their sizes agree."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from infocl.deploy.serving.limits import Limits
from infocl.deploy.serving.metrics import Metrics
from infocl.deploy.serving.requests import Embeddings, Images
from infocl.deploy.session import OnnxEncoder


@dataclass(frozen=True, eq=False)
class _Job:
    images: Images
    done: asyncio.Future[Embeddings]


class Batches:
    """One thread that runs the network, so that each run has all cores; nothing waits for a batch to fill.

    Args:
        encoder: that embeds.
        limits: of a batch.
        metrics: that count runs.
    """

    def __init__(self, encoder: OnnxEncoder, limits: Limits, metrics: Metrics) -> None:
        self._encoder, self._limits, self._metrics = encoder, limits, metrics
        self._jobs: deque[_Job] = deque()
        self._woken = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "network")

    async def embed(self, images: Images) -> Embeddings:
        """Embeddings (N, D) of images (N, H, W, 3); a caller that is cancelled leaves the queue.

        Raises:
            UserError: onnxruntime cannot run the model on them.
        """
        job = _Job(images, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._woken.set()
        return await job.done

    async def work(self) -> None:
        """Embed what comes, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._woken.wait()
            self._woken.clear()
            while jobs := self._next():
                try:
                    found = await loop.run_in_executor(self._thread, self._run, [job.images for job in jobs])
                except Exception as error:  # of any kind: those who wait must hear of it
                    found = [error] * len(jobs)
                for job, result in zip(jobs, found, strict=True):
                    if job.done.done():
                        continue
                    if isinstance(result, Exception):
                        job.done.set_exception(result)
                    else:
                        job.done.set_result(result)

    def _next(self) -> list[_Job]:
        """The oldest job, and others of its size while the batch may grow; those given up are dropped."""
        chosen: list[_Job] = []
        rest: deque[_Job] = deque()
        count = 0
        for job in self._jobs:
            if job.done.done():
                continue
            images = job.images
            total = count + len(images)
            fits = total <= self._limits.batch and total * images[0, :, :, 0].size <= self._limits.pixels
            if not chosen or (fits and images.shape[1:] == chosen[0].images.shape[1:]):
                chosen.append(job)
                count = total
            else:
                rest.append(job)
        self._jobs = rest
        return chosen

    def _run(self, parts: list[Images]) -> list[Embeddings | Exception]:
        images = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._metrics.batch.observe(len(images))
        with self._metrics.network.time():
            embeddings = self._encoder.embed(images)
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return [*np.split(embeddings, ends)]
