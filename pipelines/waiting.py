"""Of several runs that wait for the workspace and would do the same, one is enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from infocl.runtime.lock import LOCK
from pipelines.service import digest


class SuperfluousError(Exception):
    """A run with the same parameters waits already; the message is its name."""


class Place:
    """The place where one run with certain parameters waits for the workspace; gone with its process.

    Args:
        run: its name.
        parameters: that decide what it will do.
    """

    def __init__(self, run: str, parameters: Mapping[str, Any]) -> None:
        self._run = run
        self._sign = Path(f"{LOCK.with_suffix('')}-waiting-{digest(parameters)}")
        self._lock = FileLock(f"{self._sign}.lock")

    def take(self) -> None:
        """Wait here.

        Raises:
            SuperfluousError: another does.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            other = self._sign.read_text(encoding="utf-8") if self._sign.exists() else ""
            raise SuperfluousError(other or "another run") from None
        self._sign.write_text(self._run, encoding="utf-8")

    def leave(self) -> None:
        """From now on another may wait here."""
        self._lock.release()
