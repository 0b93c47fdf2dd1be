"""A project of quick stages, and a Prefect server of its own for those who ask."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.pipelines import faults
from tests.pipelines import toy as toys
from tests.pipelines.once import records
from tests.pipelines.quick import QuickProject


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A project of quick stages in which nothing ran yet, in a folder with a space in its name."""
    return QuickProject(tmp_path_factory.mktemp("flows") / "a project")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a Prefect server that only this module uses."""
    prefect = faults.Prefect(tmp_path_factory.mktemp("prefect"), records(tmp_path_factory))
    prefect.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in prefect.variables().items():
            patch.setenv(name, value)
        yield prefect.url
    prefect.kill()


@pytest.fixture(scope="module")
def listener():
    """An HTTP server to send messages to: its address, and the bodies that it was sent."""
    heard: list[dict] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Log nothing of each request."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}", heard
    httpd.shutdown()


@pytest.fixture
def toy(tmp_path_factory, tmp_path, monkeypatch):
    """A copy of a project with three committed encoders, the current folder."""
    return toys.entered(toys.shared(tmp_path_factory)[0], tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The same with v1.0.0 in service, to be copied."""
    return toys.shared(tmp_path_factory)[1]


@pytest.fixture
def in_service(served, tmp_path, monkeypatch):
    """A copy of that, the current folder."""
    return toys.entered(served, tmp_path, monkeypatch)
