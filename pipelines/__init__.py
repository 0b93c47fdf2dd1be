"""Prefect flows around the DVC pipeline: rerun what changed, judge the result, put it in service, or back."""

import logging
import os

from infocl.runtime.errors import InfoCLError

# A run outlives a server that restarts (eight tries, up to about eight minutes), and tells nobody outside.
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "8")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# Its temporary server gets the time that a busy machine needs; Prefect gives up after 20 seconds.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")


def _plain(record: logging.LogRecord) -> bool:
    """Failures with a message for people stay one line in Prefect's logs, as everywhere else."""
    if record.exc_info and isinstance(record.exc_info[1], InfoCLError):
        record.exc_info = None
        record.exc_text = None
    return True


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_plain)
