"""What tests of several readers or storages share: servers on this machine."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.s3 import served_bucket


@pytest.fixture
def bucket(monkeypatch):
    """A client of an empty bucket `infocl`, on a server that the environment names."""
    with served_bucket(monkeypatch) as (url, client):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield client


@pytest.fixture
def mirror(tmp_path):
    """A web server on this machine, and the folder that it serves."""
    served = tmp_path / "served"
    served.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield served, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
