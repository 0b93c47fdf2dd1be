"""KServe's model server at one address; its own listens on every network interface and takes no other."""

from __future__ import annotations

from grpc import aio
from kserve import ModelServer
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor, LoggingInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer

LARGEST_MESSAGE = 8 << 20  # bytes; KServe's own limit


class Server(ModelServer):  # type: ignore[misc]
    """HTTP, and gRPC where it is asked for, at one address.

    Args:
        host: name or number of the address.
        port: of HTTP.
        grpc_port: of gRPC; None leaves it off.
    """

    def __init__(self, host: str, port: int, grpc_port: int | None) -> None:
        super().__init__(http_port=port, enable_grpc=False, enable_latency_logging=False)
        self._host = host
        if grpc_port is not None:
            self._grpc_server = _Grpc(f"[{host}]" if ":" in host else host, grpc_port, self)
            self.servers.append(self._grpc_server.start(self.max_threads))

    async def _serve(self) -> None:
        self._rest_server.config.host = self._host
        await super()._serve()


class _Grpc(GRPCServer):  # type: ignore[misc]
    def __init__(self, host: str, port: int, server: ModelServer) -> None:
        super().__init__(port, server.dataplane, server.model_repository_extension, kwargs={})
        self._address = f"{host}:{port}"

    async def start(self, max_workers: int) -> None:
        options = [(f"grpc.max_{way}_message_length", LARGEST_MESSAGE) for way in ("send", "receive")]
        interceptors = (LoggingInterceptor(), ExceptionToStatusInterceptor())
        self._server = aio.server(interceptors=interceptors, options=options)
        servicer = InferenceServicer(self._data_plane, self._model_repository_extension)
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._server.add_insecure_port(self._address)
        await self._server.start()
        await self._server.wait_for_termination()
