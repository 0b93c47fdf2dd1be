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
LOCAL = "127.0.0.1"


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


def serve(host: str, port: int) -> str:
    """Serve the pages until the process ends: to this machine only, unless `host` is a name of it for others.

    Returns:
        Their address.
    """
    REPORTS.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_Quiet, directory=str(REPORTS))
    server = ThreadingHTTPServer((LOCAL if host == LOCAL else "", port), handler)
    Thread(target=server.serve_forever, name="reports", daemon=True).start()
    return f"http://{host}:{server.server_address[1]}"
