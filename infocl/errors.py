"""Errors that a person is meant to read, and the exit codes that go with them."""

from __future__ import annotations


class InfoCLError(Exception):
    """A failure with a message for people: one line, no traceback, exit code 1."""

    exit_code = 1


class UserError(InfoCLError):
    """The user's input is wrong: the message names the key or file and the mend. Exit code 2."""

    exit_code = 2
