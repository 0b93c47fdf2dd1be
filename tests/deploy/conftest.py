"""A finished export as its users get it, and the commands as they run them."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from infocl.cli.main import app


@pytest.fixture
def folder(exported, tmp_path):
    """A copy of the exported folder."""
    return shutil.copytree(exported[0] / "exports/encoder", tmp_path / "encoder")


@pytest.fixture
def infocl():
    """Run a command; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def refuses(infocl):
    """Run a command that must fail by one line on standard error and exit code 2; returns the line."""

    def run(*arguments):
        result = infocl(*arguments)
        assert result.exit_code == 2, (result.stdout, result.stderr)
        lines = [line for line in result.stderr.splitlines() if not line.startswith("Embedding ")]
        assert len(lines) == 1, lines
        assert lines[0].startswith("infocl: ")
        return lines[0]

    return run
