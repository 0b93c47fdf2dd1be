"""`python -m pipelines.guard COMMAND ...`: a command that must not outlive the process that asked for it.

The asker holds the other end of this process's standard input. When that end closes, because the asker
lets go or was killed, the command and all that it started are interrupted, then terminated, then killed.
The guard lives in a session of its own, so that a signal to the asker's process group does not reach it,
and ends last of all: a lock that it inherited is held until nothing of the command runs any more.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

GRACE = ((signal.SIGINT, 20.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))  # seconds after each signal

NOT_FOUND = 127  # as shells say it


def main(command: Sequence[str]) -> int:
    """Run `command` to its end or until standard input closes; its exit code, 128 + N for signal N."""
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_heed
        )
    except FileNotFoundError:
        print(f"infocl: {command[0]} is not installed", flush=True)
        return NOT_FOUND
    while process.poll() is None:
        readable, _, _ = select.select([sys.stdin, ended], [], [])
        if ended in readable:
            os.read(ended, 1024)
        elif not os.read(sys.stdin.fileno(), 1024):
            _end(process)
    _kill_group(process.pid, signal.SIGKILL)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _heed() -> None:
    """Ignored signals are inherited; the command must be able to end by them."""
    for heeded in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(heeded, signal.SIG_DFL)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in GRACE:
        _kill_group(process.pid, number)
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is not None:
            return


def _kill_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
