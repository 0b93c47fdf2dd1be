"""A project of quick stages, and a Prefect server of its own for those who ask."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.pipelines.quick import QuickProject
from tests.pipelines.toy import Toy
from tests.project import environment
from tests.workspace import ROOT


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A project of quick stages in which nothing ran yet, in a folder with a space in its name."""
    return QuickProject(tmp_path_factory.mktemp("flows") / "a project")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a Prefect server that only this module uses."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    patch = pytest.MonkeyPatch()
    patch.setenv("PREFECT_HOME", str(home))
    patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    process = subprocess.Popen(
        ["prefect", "server", "start", "--port", str(port)],
        env=environment(),
        stdout=(home / "log").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        while not _answers(url):
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.2)
        patch.setenv("PREFECT_API_URL", url)
        yield url
    finally:
        patch.undo()
        process.terminate()
        process.wait(timeout=60)


def _answers(url):
    try:
        return urllib.request.urlopen(f"{url}/health", timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


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
            """Say nothing of each request."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}", heard
    httpd.shutdown()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with three committed encoders, none of them registered, and a remote that has them."""
    folder = tmp_path_factory.mktemp("versions")
    toy = Toy(folder / "a toy")
    toy.dvc("remote", "add", "--default", "store", str(folder / "store"))
    toy.commits = [toy.export(weights) for weights in (1.0, 2.0, 3.0)]
    toy.dvc("push", "--quiet", "--all-commits")
    return toy


@pytest.fixture
def toy(made, tmp_path, monkeypatch):
    """A copy of it, the current folder."""
    copy = Toy.__new__(Toy)
    copy.folder = shutil.copytree(made.folder, tmp_path / "a toy", symlinks=True)
    copy.commits = made.commits
    monkeypatch.chdir(copy.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return copy
