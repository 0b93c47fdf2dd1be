"""A sign of life after each run that ended well, for an alarm that does not depend on Prefect's server."""

from __future__ import annotations

import os
from datetime import datetime

import httpx

from infocl.runtime.errors import one_line
from infocl.runtime.files import write_json
from pipelines import service
from pipelines.commands import Log

FILE = service.SERVICE / "heartbeat.json"
URL = "INFOCL_HEARTBEAT_URL"  # its variable; such addresses are secrets
SECONDS = 10.0


def beat(log: Log) -> None:
    """Write the file anew and ask for the URL, if there is one; a failure is logged, never raised."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        write_json(FILE, {"at": now, "in_service": service.serving()})
        if url := os.environ.get(URL):
            httpx.get(url, timeout=SECONDS, follow_redirects=True).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log(f"The heartbeat did not reach ${URL} ({type(error).__name__}).")
    except OSError as error:
        log(f"The heartbeat {FILE} was not written ({one_line(error)}).")
