"""What a request may cost, and how many the server works for at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The bounds of a request and of all together.

    Args:
        request_bytes: of a request's body.
        pixels: height times width times images of a request, and of requests that are embedded together.
        batch: images of a request, and of requests that are embedded together.
        seconds: that the body may take to arrive, and again until it is answered.
        waiting: requests that are read, wait or are embedded at once.
    """

    request_bytes: int = 32 << 20
    pixels: int = 8 << 20
    batch: int = 64
    seconds: float = 30.0
    waiting: int = 256


JSON_BYTES = (
    4 << 20
)  # of a request's JSON, whose numbers are decoded one by one; binary tensors are free of it
BODIES = 8  # largest ones that may be in memory at once
RETRY_AFTER = 1  # second


class RequestError(Exception):
    """A request that gets no embeddings; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Gate:
    """Lets requests in while there is room for them and their bodies, and refuses the rest at once."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.inside = 0
        self.held = 0  # bytes of bodies, announced or here

    @contextmanager
    def admit(self, size: int) -> Iterator[None]:
        """Room for one request with a body of `size` bytes.

        Raises:
            RequestError: the body is too large (413), or there is no room now (503).
        """
        most = self._limits.request_bytes
        if size > most:
            raise RequestError(
                413, f"the request has {size} bytes, but {most} are the most; send fewer images"
            )
        if self.inside >= self._limits.waiting or self.held + size > BODIES * most:
            raise RequestError(503, f"the server has {self.inside} requests to answer; ask again later")
        self.inside += 1
        self.held += size
        try:
            yield
        finally:
            self.inside -= 1
            self.held -= size
