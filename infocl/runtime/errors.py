"""Errors that a person is meant to read, and the exit codes that go with them."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable


class InfoCLError(Exception):
    """A failure with a message for people: one line, no traceback, exit code 1."""

    exit_code = 1


class UserError(InfoCLError):
    """The user's input is wrong: the message names the key or file and the fix. Exit code 2."""

    exit_code = 2


class RetryableError(UserError):
    """What is in the way may pass by itself, such as a full GPU: running again later may help. Exit code 75.

    75 is EX_TEMPFAIL of sysexits.h, by which a scheduler knows that a retry makes sense.
    """

    exit_code = 75


def guarded(work: Callable[[], object]) -> int:
    """Run `work`; say what went wrong in one line on standard error and return the exit code."""
    try:
        work()
    except InfoCLError as error:
        return _report(error, error.exit_code)
    except OSError as error:
        if (message := in_words(error)) is not None:
            return _report(message, UserError.exit_code)
        traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        return _report("interrupted; run again to continue", 130)
    except Exception as error:
        if (refused := _memory_refused(error)) is not None:
            return _report(refused, refused.exit_code)
        traceback.print_exc()
        return 1
    return 0


def in_words(error: OSError) -> str | None:
    """What the system refused, and the fix; None where there is none."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full, or a limit on file sizes is met{_at(error)}; free some space and run again"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"writing or reading is not allowed{_at(error)}; correct the folder's permissions"
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return (
            f"a file lies where a folder must be, or a folder where a file must be{_at(error)}; move it away"
        )
    if error.errno == errno.EIO:
        return (
            f"the disk failed{_at(error)}; check it, its free space and limits on file sizes, and run again"
        )
    if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
        return f"a path leads nowhere ({error.strerror}){_at(error)}; correct the path or the link"
    return None


def _memory_refused(error: Exception) -> InfoCLError | None:
    """What to say where the system gave no memory; None for any other error."""
    asked = re.search(r"tried to allocate (\d+) bytes", str(error))  # by torch, as a RuntimeError
    if not (asked or isinstance(error, MemoryError)):
        return None
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    what = f"{int(asked[1]) / 2**30:,.1f} GiB at once were asked for" if asked else one_line(error)
    message = f"the memory of this machine ({total / 2**30:,.1f} GiB) does not suffice ({what}); make "
    message += "train.batch_size or the network's widths (encoder.width, projector_hidden) smaller"
    if asked and int(asked[1]) > total:
        return UserError(message)
    return RetryableError(f"{message}, or wait until others leave memory free")


def one_line(error: object) -> str:
    """What an error says, without line breaks; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _at(error: OSError) -> str:
    return f" at {error.filename}" if error.filename else ""


def _report(message: object, code: int) -> int:
    print(f"infocl: {' '.join(str(message).splitlines())}", file=sys.stderr, flush=True)
    return code
