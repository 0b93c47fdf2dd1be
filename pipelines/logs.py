"""Failures that people are meant to read stay one line in Prefect's logs, as everywhere else."""

from __future__ import annotations

import logging

from infocl.runtime.errors import InfoCLError


def plain_failures() -> None:
    """Leave tracebacks of failures with a message for people out of the logs of flows and tasks."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if _plain not in logger.filters:
            logger.addFilter(_plain)


def _plain(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], InfoCLError):
        record.exc_info = None
        record.exc_text = None
    return True
