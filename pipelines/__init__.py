"""Prefect flows around the DVC pipeline: rerun what changed, judge the result, put it in service, or back."""

import os

# A run outlives a server that restarts (eight tries, up to about eight minutes), and tells nobody outside.
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "8")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# Its temporary server gets the time that a busy machine needs; Prefect gives up after 20 seconds.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
