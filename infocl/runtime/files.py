"""Reading and writing files: atomic writes, nothing is ever unpickled."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from infocl.runtime.errors import UserError

CHUNK = 1 << 20
HEADER_ERRORS = (ValueError, EOFError, SyntaxError, TokenError)  # of NumPy, where a `.npy` file is damaged


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it once the block has succeeded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces the folder `path` once the block has succeeded.

    A block that raises leaves the old folder as it was; what a killed run left is put right first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        temporary.chmod(0o755)
        yield temporary
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clean_up(path: Path) -> None:
    """Put back a folder that a kill left between its two names, and remove other leftovers."""
    olds = sorted(path.parent.glob(f".{path.name}.*.old"))
    if olds and not path.exists():
        olds.pop().replace(path)
    for leftover in (*olds, *path.parent.glob(f".{path.name}.*.tmp")):
        shutil.rmtree(leftover, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically, as UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, indented; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is not JSON, or nested too deeply for Python's parser.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """Read a JSON object; `hint` tells the user what to do when it is missing or corrupt.

    Raises:
        UserError: the file is missing, not JSON, or not an object.
    """
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {hint}") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); {hint}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} does not hold a JSON object; {hint}")
    return value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table atomically, row by row; names of files that are not text keep their bytes."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array atomically as `.npy`, never pickled."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        # Only `write`, because NumPy writes to a real file in a way that hides why a disk refuses.
        np.save(SimpleNamespace(write=stream.write), array, allow_pickle=False)


def read_array(path: Path, hint: str, *, mmap: bool = False) -> npt.NDArray[Any]:
    """Read an `.npy` file, memory-mapped on request; object arrays are refused.

    Raises:
        UserError: the file is missing, truncated or not a plain array.
    """
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r" if mmap else None)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {hint}") from None
    except (*HEADER_ERRORS, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); {hint}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path} holds an archive, not one array; {hint}")
    return array


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_npy(file: Path) -> str | None:
    """`sha256_array` of a `.npy` file, in constant memory; None where its header is damaged."""
    with file.open("rb") as stream:
        try:
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        except HEADER_ERRORS:
            return None
        digest = hashlib.sha256(f"{shape}{dtype.str}".encode())
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_array(array: npt.NDArray[Any]) -> str:
    """SHA-256 of an array's shape, dtype and bytes as hex digits."""
    digest = hashlib.sha256(f"{array.shape}{array.dtype.str}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
