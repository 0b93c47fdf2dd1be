"""Folders and buckets: where images lie and where parts of a table go."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyarrow import ArrowInvalid, fs

from infocl.data.decoding import SUFFIXES
from infocl.deploy.inputs import find_images
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.files import write_bytes

REMOTE = "://"


def is_remote(name: str) -> bool:
    """Whether a name is an address such as s3://bucket/prefix."""
    return REMOTE in name


def find_anywhere(arguments: Sequence[str]) -> list[str]:
    """Names of the images meant by arguments as of `find_images`, or by addresses such as s3://bucket/prefix.

    Files of this machine get their whole path, because other processes start in other folders.

    Raises:
        UserError: an argument leads to nothing, or a bucket cannot be read.
    """
    names: dict[str, None] = {}
    for argument in arguments:
        if is_remote(argument):
            names.update(dict.fromkeys(_in_bucket(argument)))
        else:
            names.update((str(path.absolute()), None) for path in find_images([argument]))
    return list(names)


def _in_bucket(address: str) -> Iterator[str]:
    files, path = _opened(address)
    scheme = address.partition(REMOTE)[0]
    try:
        found = files.get_file_info(fs.FileSelector(path, recursive=True))
    except OSError as error:
        raise UserError(
            f"{address} cannot be listed ({one_line(error)}); check it and its credentials"
        ) from None
    names = [info.path for info in found if info.is_file and Path(info.path).suffix.lower() in SUFFIXES]
    if not names:
        raise UserError(f"{address} holds no images; name another folder")
    return (f"{scheme}{REMOTE}{name}" for name in sorted(names))


def read(name: str) -> bytes:
    """A file or object; OSError where it cannot be read."""
    if not is_remote(name):
        return Path(name).read_bytes()
    files, path = _opened(name)
    with files.open_input_stream(path) as stream:
        return bytes(stream.read())


class Folder:
    """A folder or bucket that is written, one whole file at a time.

    Args:
        address: a path, or such as s3://bucket/prefix.

    Raises:
        UserError: the address is not usable.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.remote = is_remote(address)

    def name(self, file: str) -> str:
        """The whole name of a file in it."""
        return f"{self.address}/{file}"

    def write(self, file: str, content: bytes) -> None:
        """Write a file; no reader sees a part of it where it lies in a folder."""
        if not self.remote:
            write_bytes(Path(self.name(file)), content)
            return
        files, path = _opened(self.name(file))
        with files.open_output_stream(path) as stream:
            stream.write(content)

    def open(self, file: str) -> Any:
        """A file that can be read anywhere in it; FileNotFoundError where there is none."""
        files, path = _opened(self.name(file))
        return files.open_input_file(path)

    def files(self) -> list[str]:
        """Names of what lies in it, at any depth; none where it is missing."""
        files, path = _opened(self.address)
        found = files.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
        return [info.path.removeprefix(path).lstrip("/") for info in found if info.is_file]

    def remove(self, file: str) -> None:
        """Remove a file, or a folder with all that it holds; none there is fine."""
        files, path = _opened(self.name(file))
        kind = files.get_file_info(path).type
        if kind == fs.FileType.Directory:
            files.delete_dir(path)
        elif kind == fs.FileType.File:
            files.delete_file(path)

    def clean(self) -> None:
        """Remove what killed processes left half written; the rest of a bucket's uploads is never seen."""
        if not self.remote:
            for leftover in glob.glob(f"{glob.escape(self.address)}/.*.tmp"):  # noqa: PTH207 - with a dot
                Path(leftover).unlink(missing_ok=True)


def _opened(address: str) -> tuple[Any, str]:
    if not is_remote(address):
        return fs.LocalFileSystem(), str(Path(address).absolute())
    try:
        files, path = fs.FileSystem.from_uri(address)
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"{address} is no address of a bucket ({one_line(error)}); correct it") from None
    return files, path
