"""The command line; its help lists the commands in the order of these imports."""

from __future__ import annotations

from infocl.cli import train, deploy, flows  # isort: skip  # noqa: F401
from infocl.cli.command import app
from infocl.runtime.console import open_streams


def main() -> None:
    """Entry point of the `infocl` command."""
    open_streams()
    app()
