"""How every command of `infocl` runs: errors in one line, exit codes, packages that are missing."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import typer

from infocl.runtime.console import ending_with_its_pipe
from infocl.runtime.errors import UserError, guarded

Work = Callable[..., None]
app = typer.Typer(
    help="Contrastive pretraining that keeps what later tasks may need.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Engine(StrEnum):
    """What runs a command that many machines can share."""

    local = "local"
    ray = "ray"


def command(extra: str | Callable[[dict[str, Any]], str] = "train") -> Callable[[Work], Work]:
    """Make a function a command; `extra` is the set of packages that it needs, or finds it by the options."""

    def register(work: Work) -> Work:
        @functools.wraps(work)
        def run(**options: Any) -> None:
            run_as_command(lambda: work(**options), extra if isinstance(extra, str) else extra(options))

        return app.command()(run)

    return register


def run_as_command(work: Callable[[], object], extra: str) -> None:
    """Run it and exit, by one line where it fails; `extra` is the optional set of packages that it needs."""

    def installed() -> None:
        try:
            work()
        except ModuleNotFoundError as error:
            raise UserError(
                f"this command needs {error.name}, which is not installed: pip install 'infocl[{extra}]'"
            ) from None

    code = guarded(lambda: ending_with_its_pipe(installed))
    ending_with_its_pipe(sys.stdout.flush)
    sys.exit(code)
