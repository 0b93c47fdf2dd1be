"""The `dvc` command, for the command line's own commands; nothing else in the library knows DVC."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from infocl.runtime.errors import InfoCLError
from infocl.runtime.paths import raw_folder

STANDARD_ERROR = 2


def run_dvc(
    arguments: Sequence[str], *, capture: bool = False, environment: Mapping[str, str] | None = None
) -> str:
    """Run `dvc` of this environment; its output is returned when captured, else shown on standard error.

    Args:
        arguments: of the command.
        capture: return the output.
        environment: variables that it has beside those of this process.

    Raises:
        InfoCLError: it failed; the message carries its complaint, or that of the stage that failed.
    """
    lines = []
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        # Where it is not captured, standard output is left to the command's own result.
        stdout=subprocess.PIPE if capture else STANDARD_ERROR,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        if capture:
            output, errors = process.communicate()
            lines = errors.splitlines()
        else:
            output = ""
            for line in process.stderr or ():
                sys.stderr.write(line)
                lines.append(line.rstrip())
    if process.returncode:
        raise InfoCLError(f"dvc {' '.join(arguments[:2])} failed: {_reason(lines) or 'it gave no reason'}")
    return output


def downloads(params: Mapping[str, Any]) -> dict[str, str]:
    """For a temporary workspace, which has tracked files only: where downloaded data sets lie in this one.

    A user's own images are left out: they are read only as DVC knows them.
    """
    root = params["data"]["root"]
    if params["data"]["name"] == "folder" or root != params["transfer"]["root"]:
        return {}
    return {"INFOCL_DATA": str(raw_folder(root).resolve())}


def _reason(lines: Sequence[str]) -> str:
    """What a stage of this project complained of; else DVC's own first error; else all that was printed."""
    for mark in ("infocl: ", "ERROR: "):
        if found := [line.removeprefix(mark) for line in lines if line.startswith(mark)]:
            return " ".join(found[0].split())
    return " ".join(" ".join(lines).split())
