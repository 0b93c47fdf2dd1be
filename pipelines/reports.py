"""A copy of each run's report page, served over HTTP so that Prefect's pages can link to it."""

from __future__ import annotations

import functools
import re
import shutil
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from infocl.runtime.files import replacing
from infocl.runtime.paths import REPORT

REPORTS = Path("exports/reports")
KEPT = 50  # pages


def keep(url: str, name: str) -> str:
    """Copy the report page; returns its address below `url`."""
    page = f"{plain_name(name)}.html"
    with replacing(REPORTS / page) as temporary:
        shutil.copyfile(REPORT, temporary)
    pages = sorted(REPORTS.glob("*.html"), key=lambda path: path.stat().st_mtime)
    for old in pages[:-KEPT]:
        old.unlink()
    return f"{url.rstrip('/')}/{page}"


def plain_name(run: str) -> str:
    """The name of a flow run, which a person may have chosen, as one for files and experiments."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", run).strip("-") or "run"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing of each request."""


def serve(port: int) -> str:
    """Serve the pages on this machine only, until the process ends; returns their address."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_Quiet, directory=str(REPORTS))
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    Thread(target=server.serve_forever, name="reports", daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
