"""HTTP: Starlette's routes on uvicorn. No body is kept that was not let in; idle connections are dropped."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infocl.deploy.serving.limits import RETRY_AFTER, Limits, RequestError
from infocl.deploy.serving.requests import HEADER_LENGTH, Question, answer, read_question
from infocl.deploy.serving.service import NAME, Service

DRAIN_SECONDS, DRAIN_TIMES = 5, 2  # for the body of a refused request, and its length by the limit
SMALL = 64 << 10  # bytes of a body that is decoded sooner than a thread starts on it
MODEL = f"/v2/models/{NAME}"


def application(service: Service) -> Starlette:
    """The protocol's routes, and /metrics."""

    async def infer(request: Request) -> Response:
        try:
            with service.counted("http"):
                return await _infer(service, request)
        except RequestError as refused:
            stays = refused.status != 408 and await _drained(request, service.limits)
            return _refusal(refused, stays=stays)

    def fixed(content: dict[str, Any]) -> Any:
        async def reply(_: Request) -> Response:  # async, or it would wait for a free thread
            return JSONResponse(content)

        return reply

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def unknown(_: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        return JSONResponse({"error": f"nothing is here for that; ask {MODEL}"}, status)

    return Starlette(
        routes=[
            Route("/v2", fixed(service.server_metadata)),
            Route("/v2/health/live", fixed({"live": True})),
            Route("/v2/health/ready", fixed({"ready": True})),
            Route(MODEL, fixed(service.model_metadata)),
            Route(f"{MODEL}/ready", fixed({"name": NAME, "ready": True})),
            Route(f"{MODEL}/infer", infer, methods=["POST"]),
            Route("/metrics", metrics),
        ],
        exception_handlers={404: unknown, 405: unknown},
    )


async def _infer(service: Service, request: Request) -> Response:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RequestError(415, "the body is compressed; send it as it is")
    with service.gate.admit(_announced(request, service.limits)):
        body = await _body(request, service.limits)

        async def work() -> tuple[bytes, dict[str, str]]:
            question = await _question(body, request.headers.get(HEADER_LENGTH), service.limits)
            return answer(await service.embed(question.images), question, NAME)

        content, headers = await service.within_time(work)
    return Response(content, headers=headers)


async def _question(body: bytes, header_length: str | None, limits: Limits) -> Question:
    if len(body) <= SMALL:
        return read_question(body, header_length, limits)
    return await asyncio.to_thread(read_question, body, header_length, limits)


def _announced(request: Request, limits: Limits) -> int:
    """The bytes that a body will have; one of unknown length may take all that is allowed."""
    length = request.headers.get("content-length")
    return limits.request_bytes if length is None else int(length)


async def _body(request: Request, limits: Limits) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                size += len(part)
                if size > limits.request_bytes:
                    raise RequestError(
                        413, f"the request has more than {limits.request_bytes} bytes; send fewer images"
                    )
                parts.append(part)
    except TimeoutError:
        raise RequestError(408, f"the request did not arrive within {limits.seconds:g} s") from None
    except ClientDisconnect:
        raise RequestError(400, "the client left before its request was complete") from None
    return b"".join(parts)


async def _drained(request: Request, limits: Limits) -> bool:
    """Read what is left of a body and throw it away; whether that was all.

    A client that is still sending when the connection closes sees that alone, and never the reason.
    """
    if "expect" in request.headers:  # it sends nothing before it is told to
        return False
    size = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > DRAIN_TIMES * limits.request_bytes:
                    return False
    except (TimeoutError, ClientDisconnect):
        return False
    except RuntimeError:  # it was read to its end before
        pass
    return True


def _refusal(refused: RequestError, *, stays: bool) -> Response:
    headers = {"retry-after": str(RETRY_AFTER)} if refused.status == 503 else {}
    if not stays:
        headers["connection"] = "close"
    return JSONResponse({"error": refused.reason}, refused.status, headers)


class Connection(HttpToolsProtocol):
    """Closed when it brings no complete head of a request within `patience` to twice as many seconds."""

    def __init__(self, *arguments: Any, patience: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience
        self._seen: object = None

    def connection_made(self, transport: Any) -> None:
        """Start to watch it."""
        super().connection_made(transport)
        self.loop.call_later(self._patience, self._look)

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self.loop.call_later(self._patience, self._look)
