"""Running programs: their lines go to a log as they come, and they never outlive this process."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infocl.runtime.errors import InfoCLError, RetryableError, in_words

INTERRUPTED = 130
TAIL = 60  # lines of output kept for the message of a failure
LOST_CONNECTION = re.compile(
    r"connection (refused|reset|aborted|closed)|could not connect|failed to connect|timed? ?out|unreachable|"
    r"name resolution|could not resolve|temporary failure|unable to access|EndpointConnectionError|"
    r"early EOF|hung up|service unavailable|slow ?down|cannot connect|connect call failed|"
    r"unable to acquire lock",  # a person's `dvc` looks at the workspace for a moment
    re.IGNORECASE,
)
Log = Callable[[str], object]
FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large")


class CommandError(InfoCLError):
    """A program failed; the message is its own reason.

    Attributes:
        code: its exit code; a stage's own one where DVC ran a stage.
        retryable: whether running it again later may help.
        output: the last lines that it wrote.
    """

    def __init__(self, message: str, code: int, retryable: bool, output: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.output = output

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """The user's input was wrong where the program said so."""
        return 2 if self.code == 2 else 1


def stream(
    command: Sequence[str],
    log: Log,
    *,
    keep: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program and hand each of its lines to `log` as it comes.

    Args:
        command: program and arguments.
        log: takes a line.
        keep: file descriptor that stays open until nothing of the program runs any more.
        environment: variables that it has beside those of this process.

    Returns:
        Its last lines.

    Raises:
        CommandError: it ended with another code than 0.
    """
    process = start_guarded(
        command,
        stdout=subprocess.PIPE,
        env=with_programs() | dict(environment or {}),
        pass_fds=() if keep is None else (keep,),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    tail: list[str] = []
    try:
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line:
                tail = [*tail[1 - TAIL :], line]
                log(line)
        process.wait()
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
    if process.returncode:
        raise _failure(command, process.returncode, tail)
    return "\n".join(tail)


def start_guarded(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that ends when the standard input of what is returned closes, or this process ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.guard", *command],
        stdin=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )


def output_of(command: Sequence[str], given: str = "") -> str:
    """Run a short program of this environment, `given` on its standard input; its standard output.

    Raises:
        CommandError: it failed, or is not installed; `retryable` where a connection was the reason.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            input=given,
            env=with_programs({"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}),
            check=False,
        )
    except FileNotFoundError:
        raise CommandError(f"{command[0]} is not installed", 127, False) from None
    if done.returncode:
        raise _failure(command, done.returncode, (done.stderr or done.stdout).splitlines())
    return done.stdout.rstrip("\n")


def with_programs(environment: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment, with this Python's programs first on the path, as after activation."""
    folder = os.path.dirname(sys.executable)  # noqa: PTH120 - not resolved, because it may be a link
    path = os.pathsep.join([folder, os.environ.get("PATH", "")])
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"} | (environment or {})


def _failure(command: Sequence[str], code: int, tail: Sequence[str]) -> CommandError:
    text = "\n".join(tail)
    of_stage = re.findall(r"exited with (\d+)", text)
    code = int(of_stage[-1]) if of_stage else code
    messages = [line for line in tail if line.startswith("infocl: ")]
    errors = [line.strip() for line in tail if line.startswith(("ERROR: ", "error: ", "fatal: ", "\t"))]
    errors = errors if any(": " in line for line in errors) else []
    if code == INTERRUPTED:
        reason = f"{' '.join(command[:4])} was interrupted"
    elif messages:
        reason = messages[-1].removeprefix("infocl: ")
    else:
        reason = " ".join(errors) or (tail[-1] if tail else f"it ended with code {code} and said nothing")
    if not messages and FULL.search(text):
        reason, code = in_words(OSError(errno.ENOSPC, "")) or reason, 2
    retryable = code == RetryableError.exit_code or bool(not messages and LOST_CONNECTION.search(text))
    return CommandError(reason, code, retryable, text)
