"""Ctrl-C, or the TERM that `timeout` sends, ends a command within seconds and in one line."""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from types import FrameType

SECONDS = 8.0  # for a clean end, which a server that does not answer can delay by minutes

_received: list[int] = []
_queue: SimpleQueue[int] = SimpleQueue()  # because a signal handler must not wait for any other lock


def listen() -> None:
    """From now on the first SIGINT or SIGTERM says so and exits with 128 + its number; later ones do nothing.

    The process ends `SECONDS` after it at the latest, and with it every program under guard.
    """
    Thread(target=_end_in_time, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def keep_listening() -> None:
    """Take SIGTERM back from Prefect, which takes it when a flow starts; does nothing without `listen`."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    if _received:
        return
    _received.append(number)
    _queue.put(number)
    with suppress(OSError):  # a terminal that is gone
        os.write(2, b"infocl: interrupted; run again to continue\n")  # `print` may be at work just now
    logging.disable()  # Prefect would log a crash of each task and flow
    raise SystemExit(128 + number)


def _end_in_time() -> None:
    number = _queue.get()
    time.sleep(SECONDS)
    os._exit(128 + number)
