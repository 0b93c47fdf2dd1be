"""Errors that a person is meant to read, and the exit codes that go with them."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable


class InfoCLError(Exception):
    """A failure with a message for people: one line, no traceback, exit code 1."""

    exit_code = 1


class UserError(InfoCLError):
    """The user's input is wrong: the message names the key or file and the mend. Exit code 2."""

    exit_code = 2


class PassingError(UserError):
    """What is in the way may pass by itself, such as a full GPU: running again later may help. Exit code 75.

    75 is EX_TEMPFAIL of sysexits.h, by which a scheduler knows that a retry makes sense.
    """

    exit_code = 75


def guarded(work: Callable[[], object]) -> int:
    """Run `work`; say what went wrong in one line on standard error and return the exit code."""
    try:
        work()
    except InfoCLError as error:
        return _say(error, error.exit_code)
    except OSError as error:
        if (said := in_words(error)) is not None:
            return _say(said, UserError.exit_code)
        traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        return _say("interrupted; run again to continue", 130)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def in_words(error: OSError) -> str | None:
    """What the system refused, and the mend; None where there is none."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full, or a limit on file sizes is met{_at(error)}; free some space and run again"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"writing or reading is not allowed{_at(error)}; mend the folder's permissions"
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return (
            f"a file lies where a folder must be, or a folder where a file must be{_at(error)}; move it away"
        )
    return None


def one_line(error: object) -> str:
    """What an error says, without line breaks; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _at(error: OSError) -> str:
    return f" at {error.filename}" if error.filename else ""


def _say(message: object, code: int) -> int:
    print(f"infocl: {message}", file=sys.stderr, flush=True)
    return code
