"""Starts real processes that talk by Gloo, as a launcher would."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.ports import free_port
from tests.workspace import ROOT


def run_in_processes(count, *command, cwd=ROOT):
    """Run `python *command` in `count` processes of one world; all must end well."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(count)}
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env=os.environ
            | shared
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    message = [process.communicate(timeout=1800)[0] for process in started]
    assert [process.returncode for process in started] == [0] * count, "\n".join(message)
    return message
