"""Prefect flows around the DVC pipeline: rerun what changed, judge the result, put it in service, or back."""

import os

# A run outlives a server that restarts (eight tries, up to about eight minutes), and tells nobody outside.
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "8")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
