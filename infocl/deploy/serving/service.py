"""What both transports share: one encoder, its queue, its limits and its figures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infocl import __version__
from infocl.deploy.serving.batches import Batches
from infocl.deploy.serving.limits import Gate, Limits, RequestError
from infocl.deploy.serving.metrics import Metrics
from infocl.deploy.serving.requests import Embeddings, Images, described
from infocl.deploy.session import OnnxEncoder
from infocl.runtime.errors import UserError

NAME = "encoder"


class Service:
    """An encoder that answers.

    Args:
        encoder: that embeds.
        limits: of requests.
    """

    def __init__(self, encoder: OnnxEncoder, limits: Limits) -> None:
        self.encoder, self.limits = encoder, limits
        self.gate, self.metrics = Gate(limits), Metrics()
        self.batches = Batches(encoder, limits, self.metrics)
        self.metrics.inside.set_function(lambda: self.gate.inside)
        self.metrics.held.set_function(lambda: self.gate.held)

    async def embed(self, images: Images) -> Embeddings:
        """Embeddings of checked images.

        Raises:
            RequestError: the network cannot run (500).
        """
        try:
            return await self.batches.embed(images)
        except UserError as error:
            raise RequestError(500, str(error)) from None

    async def within_time(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """The result of `work`.

        Raises:
            RequestError: it takes longer than a request may (503).
        """
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await work()
        except TimeoutError:
            raise RequestError(503, f"no answer within {self.limits.seconds:g} s; ask again later") from None

    @contextmanager
    def counted(self, transport: str) -> Iterator[None]:
        """Count one request and its time, by how it ends."""
        status = "500"
        with self.metrics.seconds.time():
            try:
                yield
                status = "200"
            except RequestError as refused:
                status = str(refused.status)
                raise
            finally:
                self.metrics.requests.labels(transport, status).inc()

    @property
    def server_metadata(self) -> dict[str, Any]:
        """In the words of the protocol."""
        return {"name": "infocl", "version": __version__, "extensions": ["binary_tensor_data"]}

    @property
    def model_metadata(self) -> dict[str, Any]:
        """In the words of the protocol."""
        return {
            "name": NAME,
            "versions": [],
            "platform": "onnxruntime_onnx",
            "inputs": [described(self.encoder.file.input)],
            "outputs": [described(self.encoder.export.card.output)],
        }
