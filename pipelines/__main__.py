"""`python -m pipelines retrain`, `rollback` or `sweep`: what the commands of `infocl` become in a project."""

import sys

from infocl.runtime.errors import guarded
from pipelines.interrupts import listen


def _main() -> None:
    listen()
    from pipelines.command_line import app  # takes a second, in which a Ctrl-C is one line, too

    app(prog_name="infocl")


sys.exit(guarded(_main))
