"""Trying the models of a folder in a process of its own, whose time and memory have an end.

A hostile model can make onnxruntime compute for ever, take all memory or crash, and no exception tells of it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import infocl
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.text import file_size

SECONDS = 300.0
MEMORY = 8 << 30  # bytes of address space
LONGEST_LINE = 1 << 16
ALL = "all"
DO_NOT_USE = "do not use it"


def try_models(folder: Path, variant: str) -> Iterator[str]:
    """What `infocl.deploy.models.check_models` finds, line by line.

    Args:
        folder: an exported one, whose files are as its sums say.
        variant: one that it ships, or `ALL`.

    Raises:
        UserError: a model is not as described, does not repeat the example, or takes too much of anything.
    """
    root = str(Path(infocl.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # Without -P Python would import what lies in the current folder, which may be the stranger's.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(folder), variant],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "MALLOC_ARENA_MAX": "2"},
    )
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(SECONDS, end)
    timer.start()
    try:
        with process:
            yield from _lines(process, folder)
            process.wait()
        if late.is_set():
            raise UserError(f"{folder} takes more than {SECONDS:g} s to check; {DO_NOT_USE}")
        if process.returncode != 0:
            raise UserError(
                f"{folder} broke off its check ({_end(process.returncode)}), as models do that take more "
                f"than {file_size(MEMORY)} of memory; {DO_NOT_USE}"
            )
    finally:
        timer.cancel()
        process.kill()


def _lines(process: subprocess.Popen[bytes], folder: Path) -> Iterator[str]:
    assert process.stdout is not None
    while line := process.stdout.readline(LONGEST_LINE):
        try:
            kind, text = json.loads(line)
        except ValueError:
            raise UserError(f"{folder} disturbs its check; {DO_NOT_USE}") from None
        if kind == "error":
            raise UserError(text)
        yield text


def _end(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name


def _main(folder: str, variant: str) -> None:
    """Print JSON lines, `["found", TEXT]` or at the end `["error", TEXT]`."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    from infocl.deploy.models import check_models

    try:
        for found in check_models(Path(folder), None if variant == ALL else variant):
            print(json.dumps(["found", found]), flush=True)
    except UserError as error:
        print(json.dumps(["error", str(error)]), flush=True)
    except MemoryError:
        print(json.dumps(["error", f"{folder} takes more than {file_size(most)} of memory; {DO_NOT_USE}"]))
    except Exception as error:  # hostile files fail in every way there is
        reason = f"{type(error).__name__}: {one_line(error)}"
        print(json.dumps(["error", f"{folder} cannot be checked ({reason}); {DO_NOT_USE}"]), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
