"""`infocl serve`: an exported encoder behind the Open Inference Protocol V2, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import signal
import socket
from functools import partial
from pathlib import Path

import uvicorn

from infocl.deploy.serving import rpc
from infocl.deploy.serving.http import Connection, application
from infocl.deploy.serving.limits import Limits
from infocl.deploy.serving.service import NAME, Service
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.trust import open_trusted
from infocl.runtime.errors import UserError, one_line

CONNECTIONS = 1000
GRACE = 5  # seconds for requests at work when the server is stopped


def serve_folder(
    folder: Path,
    variant: str,
    *,
    host: str,
    port: int,
    grpc_port: int | None,
    signers: Path | None,
    limits: Limits,
) -> None:
    """Serve a variant as the model `encoder` over the Open Inference Protocol V2, until stopped.

    The arguments are the options of `infocl serve`; there is no access control.

    Raises:
        UserError: the folder cannot be used, the host is not of this machine, or a port is taken.
    """
    export = open_trusted(folder, variant, signers)
    for option, wanted in (("--port", port), ("--grpc-port", grpc_port)):
        if wanted is not None:
            _require_free(host, option, wanted)
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn's own handlers end in these
        signal.signal(number, lambda *_: None)
    asyncio.run(_serve(Service(OnnxEncoder(export, variant), limits), host, port, grpc_port))


async def _serve(service: Service, host: str, port: int, grpc_port: int | None) -> None:
    work = asyncio.create_task(service.batches.work())
    calls = None if grpc_port is None else await rpc.start(service, host, grpc_port)
    config = uvicorn.Config(
        application(service),
        host=host,
        port=port,
        http=partial(Connection, patience=service.limits.seconds),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    also = "" if grpc_port is None else f", gRPC at port {grpc_port}"
    print(
        f"Serving {service.encoder.path} at http://{host}:{port}/v2/models/{NAME}{also}; Ctrl+C stops.",
        flush=True,
    )
    await uvicorn.Server(config).serve()
    if calls is not None:
        await calls.stop(GRACE)
    work.cancel()


def _require_free(host: str, option: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"--host {host} {option} {port} cannot be used ({reason}); name another") from None
