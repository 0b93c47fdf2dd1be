"""The `dvc` command, for the command line's own commands; nothing else in the library knows DVC."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from infocl.runtime.errors import InfoCLError


def run_dvc(arguments: Sequence[str], *, capture: bool = False) -> str:
    """Run `dvc` of this environment; its output is returned when captured, else it is shown.

    Raises:
        InfoCLError: it failed; the message carries its complaint.
    """
    pipe = subprocess.PIPE
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        stdout=pipe if capture else None,
        stderr=pipe,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        message = " ".join((errors[0] if errors else done.stderr).removeprefix("ERROR: ").split())
        raise InfoCLError(f"dvc {' '.join(arguments[:2])} failed: {message or 'it gave no reason'}")
    return done.stdout or ""
