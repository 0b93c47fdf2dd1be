"""The Prefect server of a command: the configured one, or a temporary one that ends with the command."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING

import httpx
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    PREFECT_UI_URL,
    temporary_settings,
)

from infocl.runtime.errors import InfoCLError, UserError
from pipelines.commands import start_guarded

if TYPE_CHECKING:
    from fastapi import FastAPI

SECONDS = 30.0  # to answer, for a server that is there and busy


@contextmanager
def reachable_server() -> Iterator[None]:
    """The configured Prefect server; where it does not answer or none is configured, a temporary one.

    Raises:
        InfoCLError: the temporary one does not start.
    """
    url = PREFECT_API_URL.value()
    if url is not None and _answers(url):
        yield
        return
    if url is not None:
        print(
            f"infocl: the Prefect server {url} does not answer; this run is recorded on this machine only.",
            file=sys.stderr,
        )
    with temporary_settings({PREFECT_API_URL: _start(), PREFECT_UI_URL: ""}):
        yield


def require_server() -> None:
    """Refuse to go on where no server is named that outlives this process.

    Raises:
        UserError: so it is.
    """
    if PREFECT_API_URL.value() is None:
        raise UserError(
            "PREFECT_API_URL is not set; start `prefect server start` and set it to "
            "http://127.0.0.1:4200/api, or to your server"
        )


def application() -> FastAPI:
    """The server itself, for uvicorn: records without schedules and pages, as Prefect's own temporary one."""
    from prefect.server.api.server import create_app

    return create_app(ephemeral=True, final=True)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=SECONDS).is_success
    except httpx.HTTPError:
        return False


def _start() -> str:
    """Start a server and wait until it answers; its address.

    Prefect's own temporary server shares the terminal's process group, so that a Ctrl-C ends it first, and
    the run then waits for minutes to tell it how it ended. Under guard it ends last.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    program = [sys.executable, "-m", "uvicorn", "--factory", f"{__name__}:application"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    log = tempfile.TemporaryFile()  # noqa: SIM115 - until this process ends
    environment = os.environ | {"PREFECT_API_URL": url, "PREFECT_UI_ENABLED": "0"}
    server = start_guarded([*program, *options], stdout=log, env=environment)
    atexit.register(_stop, server)
    deadline = time.monotonic() + PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
    while not _answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise InfoCLError(f"Prefect's temporary server did not start: {_last_line(log)}")
        time.sleep(0.1)
    return url


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server after Prefect's own handlers, which are registered later, sent it their last records."""
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it gave no reason")
