"""Reading files of a folder that anyone may have made: plain ones of a bounded size, without waiting."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from infocl.runtime.errors import UserError
from infocl.runtime.text import file_size

COPY_AGAIN = "copy the folder again as a whole"
LARGEST_TEXT = 16 << 20
LARGEST_FILE = 2 << 30  # protobuf, and so ONNX, knows no larger ones


def open_plain(path: Path, largest: int, missing: str) -> BufferedReader:
    """Open a plain file; a pipe or a device is refused, not waited for.

    Args:
        path: of the file; links are followed.
        largest: number of bytes that it may have.
        missing: the hint where there is no such file.

    Raises:
        UserError: it is missing, something else than a plain file, larger, or cannot be read.
    """
    try:
        stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - Path.open has no opener
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {missing}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {COPY_AGAIN}") from None
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= largest:
        return stream
    stream.close()
    if stat.S_ISREG(status.st_mode):
        raise UserError(
            f"{path} has {file_size(status.st_size)}, but {file_size(largest)} are the most; {COPY_AGAIN}"
        )
    raise UserError(f"{path} is not a plain file; {COPY_AGAIN}, links followed")


def read_plain(path: Path, largest: int, missing: str) -> bytes:
    """The content of a plain file; arguments and errors as of `open_plain`."""
    with open_plain(path, largest, missing) as stream:
        return stream.read(largest)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
