"""gRPC: the same service, with images and embeddings as raw bytes."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import Any

import grpc

from infocl.deploy.serving.limits import RequestError
from infocl.deploy.serving.messages import SERVICE, TYPES
from infocl.deploy.serving.requests import (
    INPUT,
    LONGEST_ID,
    OUTPUT,
    Embeddings,
    Images,
    check_shape,
    images_of,
)
from infocl.deploy.serving.service import NAME, Service

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
HEADROOM = 64 << 10  # bytes of a message beside its tensor
CALLS = 64  # at once; gRPC has their messages in memory before anyone can refuse them


def methods(service: Service) -> dict[str, Callable[[Any], Any]]:
    """An answer for each method of the protocol, by its name."""

    def metadata(request: Any) -> dict[str, Any]:
        _require_model(request.name)
        return service.model_metadata

    async def infer(request: Any) -> dict[str, Any]:
        with service.counted("grpc"), service.gate.admit(request.ByteSize()):
            _require_model(request.model_name)
            images = _images(request, service)
            embeddings: Embeddings = await service.within_time(lambda: service.embed(images))
        output = {"name": OUTPUT, "datatype": "FP32", "shape": list(embeddings.shape)}
        raw = embeddings.astype("<f4", copy=False).tobytes()
        return {"model_name": NAME, "id": request.id, "outputs": [output], "raw_output_contents": [raw]}

    return {
        "ServerLive": lambda _: {"live": True},
        "ServerReady": lambda _: {"ready": True},
        "ModelReady": lambda request: {"ready": request.name == NAME},
        "ServerMetadata": lambda _: service.server_metadata,
        "ModelMetadata": metadata,
        "ModelInfer": infer,
    }


def _require_model(name: str) -> None:
    if name != NAME:
        raise RequestError(404, f"the model {name[:80]!r} is not here; ask for {NAME}")


def _images(request: Any, service: Service) -> Images:
    names = [part.name for part in request.inputs]
    if names != [INPUT]:
        raise RequestError(400, f"the request has the inputs {names[:8]}; give one, {INPUT}")
    wanted = [output.name for output in request.outputs]
    if wanted not in ([], [OUTPUT]):
        raise RequestError(400, f"the outputs {wanted[:8]} are not known; ask for {OUTPUT}")
    if len(request.id) > LONGEST_ID:
        raise RequestError(400, f"id has more than {LONGEST_ID} characters")
    (part,) = request.inputs
    shape = check_shape(part.datatype, list(part.shape), service.limits)
    if len(request.raw_input_contents) == 1:
        return images_of(request.raw_input_contents[0], shape)
    try:
        return images_of(bytes(part.contents.uint_contents), shape)
    except ValueError:
        raise RequestError(400, f"the data of {INPUT} hold a number above 255") from None


async def start(service: Service, host: str, port: int) -> grpc.aio.Server:
    """A server at one address, started."""
    most = service.limits.request_bytes + HEADROOM
    options = [("grpc.max_receive_message_length", most), ("grpc.max_send_message_length", most)]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=CALLS)
    handlers = {name: _handler(name, method) for name, method in methods(service).items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    await server.start()
    return server


def _handler(name: str, method: Callable[[Any], Any]) -> Any:
    request, response = TYPES[f"{name}Request"], TYPES[f"{name}Response"]

    async def call(asked: Any, context: Any) -> Any:
        try:
            found = method(asked)
            return response(**(await found if isawaitable(found) else found))
        except RequestError as refused:
            await context.abort(CODES[refused.status], refused.reason)

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=request.FromString, response_serializer=response.SerializeToString
    )
