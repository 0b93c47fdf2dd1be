"""Files of published sets: found, or downloaded, checked and unpacked, each whole or not at all."""

from __future__ import annotations

import contextlib
import io
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from torchvision.datasets.utils import check_integrity, download_url, extract_archive

from infocl.data.raw import missing
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing

SECONDS_OF_SILENCE = 30  # after which a download has failed


class Remote(NamedTuple):
    """A published file, and what a reader needs of it.

    Attributes:
        url: where it is published.
        md5: as published.
        made: the folder or file that it unpacks to; its own name where it is used as it is.
        base: folder below the raw files where `made` lies, as torchvision has it.
    """

    url: str
    md5: str
    made: str
    base: str = ""

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]

    @property
    def wanted(self) -> str:
        """What to put where, in words."""
        file = f"{self.file} (MD5 {self.md5})"
        if self.file == self.made:
            return f"the file {Path(self.base) / file}"
        return f"the folder {Path(self.base) / self.made} or the file {file}"

    def place(self, raw: Path) -> Path:
        """Where `made` lies below the folder of raw files."""
        return raw / self.base / self.made


def obtain(name: str, raw: Path, remotes: Sequence[Remote]) -> None:
    """Have what is made of each file in its place: unpacked from an archive that is there, or downloaded.

    Raises:
        UserError: a file is not there and cannot be downloaded, or an archive is damaged; nothing half
            made is left.
    """
    try:
        raw.mkdir(parents=True, exist_ok=True)
        for remote in remotes:
            if not remote.place(raw).exists():
                _fetch(remote, raw)
    except (OSError, RuntimeError, ValueError) as error:
        wanted = [remote.wanted for remote in remotes if not remote.place(raw).exists()]
        raise missing(name, raw, wanted, error) from None


def require_intact(path: Path, md5: str) -> None:
    """Refuse a file whose content is not the published one.

    Raises:
        UserError: its MD5 differs.
    """
    if not check_integrity(str(path), md5):
        raise UserError(f"{path} is damaged or another file (MD5 is not {md5}); replace it")


def require_all(files: Iterable[Path], folder: Path | str) -> None:
    """Refuse an unpacked folder that lacks files.

    Raises:
        UserError: one of `files` is not there.
    """
    for path in files:
        if not path.exists():
            raise UserError(f"{path} is missing; put it there, or remove {folder} to have it unpacked again")


def _fetch(remote: Remote, raw: Path) -> None:
    """Download a file unless it is there, check it, and move what is needed of it into its place."""
    base, as_it_is = raw / remote.base, remote.file == remote.made
    there = [path for path in (base / remote.file, raw / remote.file) if path.exists() and not as_it_is]
    archive = there[0] if there else None
    if archive is None:
        archive = base / remote.file
        with replacing(archive) as temporary, _quietly():
            download_url(remote.url, str(base), temporary.name, remote.md5)
    else:
        require_intact(archive, remote.md5)
    if as_it_is:
        return
    with tempfile.TemporaryDirectory(dir=raw) as unpacked:
        extract_archive(str(archive), unpacked)
        remote.place(raw).parent.mkdir(parents=True, exist_ok=True)
        (Path(unpacked) / remote.made).replace(remote.place(raw))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without prints, and connections that stay silent fail: torchvision sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_OF_SILENCE)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)
