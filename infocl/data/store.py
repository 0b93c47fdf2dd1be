"""Images decoded so far, by the content of their files: what a killed or an earlier preparation left."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from infocl.config import Bits, Crop
from infocl.data.decoding import DECODER, Decoded, ImageFiles, UnreadableError, decode_image, decoding_threads
from infocl.data.raw import Images
from infocl.runtime.errors import UserError
from infocl.runtime.files import sha256_file

FACTS = (
    "CREATE TABLE facts (digest BLOB PRIMARY KEY, place INTEGER, row INTEGER, "
    "width INTEGER, height INTEGER, contrast REAL, pixels BLOB, peak INTEGER) WITHOUT ROWID"
)
OWN = 0  # the place of pixels in this store's own file; others are borrowed


class Seen(NamedTuple):
    """A file that was looked at: the SHA-256 of its content, or what is wrong with it."""

    digest: bytes | None
    kind: str | None = None
    reason: str | None = None


class _Fresh(NamedTuple):
    digest: bytes
    decoded: Decoded


class Fact(NamedTuple):
    """What is known of an image file under the digest of its content; `pixels` is `digest_pixels` of it."""

    digest: bytes
    width: int
    height: int
    contrast: float
    pixels: bytes
    peak: int | None


class PixelStore:
    """Decoded images on disk under the SHA-256 of their files, each decoded once.

    What was added survives `kill -9`, chunk by chunk: the pixels lie in one flat file, facts about them
    in an SQLite database that other tables may join. Memory does not grow with their number.

    Args:
        folder: of the store; made if missing, emptied when another decoder, size or crop filled it.
        size: height and width in px.
        crop: how images become square, as in `decode_image`.
        bits: as in `decode_image`.
        background: as in `decode_image`.
        keep_pixels: False remembers facts alone.

    Raises:
        UserError: another process uses the store.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        *,
        crop: Crop = "center",
        bits: Bits = "auto",
        background: str = "white",
        keep_pixels: bool = True,
    ) -> None:
        self.folder, self.size, self.crop, self.bits, self.keep_pixels = folder, size, crop, bits, keep_pixels
        self.background = background
        self.decoder = decoder_of(bits, background)
        self.decoded = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        self.database = self._open()
        self._next = self._count(self.database)
        self._pixels = (folder / "pixels.bin").open("ab+")
        self._pixels.truncate(self._next * self._row_bytes)  # what a kill left unnamed goes
        self._places = {OWN: (self._pixels.fileno(), 0)}

    @property
    def _row_bytes(self) -> int:
        return 3 * self.size * self.size

    def _open(self) -> sqlite3.Connection:
        """The database, locked for this process; made anew when it is damaged or another decoder's."""
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise _as_os_error(error, self.folder) from None
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        file = self.folder / "facts.sqlite"
        database = sqlite3.connect(file, timeout=0, check_same_thread=False, isolation_level=None)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        made_by = f"{self.decoder}, {self.size} px, {self.crop}, {self.keep_pixels}"
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
            raise UserError(f"another preparation uses {self.folder}; wait for it or stop it") from None
        database.execute("CREATE TABLE IF NOT EXISTS about (made_by TEXT)")
        if (found := database.execute("SELECT made_by FROM about").fetchone()) is None:
            database.execute("INSERT INTO about VALUES (?)", (made_by,))
            database.execute(FACTS)
        database.execute("DELETE FROM facts WHERE place != ?", (OWN,))
        database.execute("COMMIT")
        file = self.folder / "pixels.bin"
        there = file.stat().st_size if file.exists() else 0
        if found not in (None, (made_by,)) or there < self._count(database) * self._row_bytes:
            database.close()
            raise sqlite3.DatabaseError("another decoder's, or its pixels are gone")
        return database

    @staticmethod
    def _count(database: sqlite3.Connection) -> int:
        """Rows of the store's own pixels that are named in the database."""
        return int(database.execute("SELECT count(*) FROM facts").fetchone()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store; it is removed once its purpose is fulfilled, or when it holds nothing."""
        self.database.close()
        for descriptor, _ in list(self._places.values())[1:]:
            os.close(descriptor)
        self._pixels.close()
        if kind is None or self._next == 0:
            shutil.rmtree(self.folder)
        if isinstance(error, sqlite3.OperationalError):
            raise _as_os_error(error, self.folder) from None

    @contextmanager
    def changes(self) -> Iterator[None]:
        """A transaction: all that the block changes in the database, or nothing."""
        self.database.execute("BEGIN")
        yield
        self.database.execute("COMMIT")

    def look_at(self, paths: Sequence[Path]) -> list[Seen]:
        """Hash files and decode those whose content is new, in parallel."""
        with decoding_threads() as pool:
            looked = list(pool.map(self._look, paths))
        fresh = {one.digest: one for one in looked if isinstance(one, _Fresh)}
        self._add(list(fresh.values()))
        return [Seen(one.digest) if isinstance(one, _Fresh) else one for one in looked]

    def _look(self, path: Path) -> Seen | _Fresh:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # reading a pipe might never end
                return Seen(None, "broken", "is not a regular file")
            if status.st_size == 0:
                return Seen(None, "empty", "cannot be read as an image (it is empty)")
            digest = bytes.fromhex(sha256_file(path))
            with self._lock:
                known = self.database.execute("SELECT 1 FROM facts WHERE digest = ?", (digest,)).fetchone()
            return Seen(digest) if known else _Fresh(digest, self._decode(path))
        except FileNotFoundError:
            return Seen(None, "missing", "is a link to nothing" if path.is_symlink() else "is not there")
        except UnreadableError as error:
            return Seen(None, "broken", error.reason)
        except OSError as error:
            return Seen(None, "broken", f"cannot be read ({error.strerror})")

    def _decode(self, path: Path) -> Decoded:
        return decode_image(path, self.size, self.crop, self.bits, self.background)

    def _add(self, fresh: list[_Fresh]) -> None:
        self.decoded += len(fresh)
        if self.keep_pixels:
            for one in fresh:
                self._pixels.write(np.ascontiguousarray(one.decoded.pixels).data)
            self._pixels.flush()
            os.fsync(self._pixels.fileno())
        with self.changes():
            self._insert(OWN, self._next, (_fact(*one) for one in fresh))
        self._next += len(fresh)

    def _insert(self, place: int, first: int, facts: Iterator[Fact]) -> None:
        rows = ((fact.digest, place, row, *fact[1:]) for row, fact in enumerate(facts, first))
        self.database.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def facts(self) -> list[Fact]:
        """What is known of the images that this store has decoded, in the order of their rows."""
        columns = ", ".join(Fact._fields)
        rows = self.database.execute(f"SELECT {columns} FROM facts WHERE place = ? ORDER BY row", (OWN,))
        return [Fact(*row) for row in rows]

    def borrow(self, array: Path, facts: Iterator[Fact]) -> None:
        """Use the images of a `.npy` file of uint8 (N, S, S, 3), which must stay while the store is used.

        Args:
            array: the file.
            facts: of each row.
        """
        stream = array.open("rb")
        np.lib.format.read_magic(stream)
        np.lib.format.read_array_header_1_0(stream)
        place = len(self._places)
        self._places[place] = (os.dup(stream.fileno()), stream.tell())
        stream.close()
        with self.changes():
            self._insert(place, 0, facts)

    def pixels(self, digests: Sequence[bytes]) -> Images:
        """The images of files that were looked at, uint8 (n, S, S, 3)."""
        images = np.empty((len(digests), self.size, self.size, 3), np.uint8)
        for image, digest in zip(images, digests, strict=True):
            query = "SELECT place, row FROM facts WHERE digest = ?"
            place, row = self.database.execute(query, (digest,)).fetchone()
            descriptor, offset = self._places[place]
            # Read, not mapped, so that the memory of this process does not grow with what it has read.
            os.preadv(descriptor, [image.data], offset + row * self._row_bytes)
        return images


class StoredFiles:
    """`ImageFiles` whose images are kept in a store as they are decoded, so that a rerun decodes the rest."""

    def __init__(self, files: ImageFiles, store: PixelStore) -> None:
        self._files, self._store = files, store

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: slice) -> Images:
        """The images of a slice.

        Raises:
            UserError: a file cannot be read as an image.
        """
        paths = self._files.paths[rows]
        digests = []
        for path, seen in zip(paths, self._store.look_at(paths), strict=True):
            if seen.digest is None:
                raise UserError(f"{path} {seen.reason}; replace or remove it")
            digests.append(seen.digest)
        return self._store.pixels(digests)


def decoder_of(bits: Bits, background: str) -> str:
    """What decodes, by all that decides which pixels come out but for size and crop."""
    depth = "" if bits == "auto" else f", {bits} of 16 bits"
    return DECODER + depth + ("" if background == "white" else f", transparency on {background}")


def _fact(digest: bytes, decoded: Decoded) -> Fact:
    pixels, width, height, peak = decoded
    return Fact(digest, width, height, contrast(pixels), digest_pixels(pixels), peak)


def digest_pixels(pixels: Images) -> bytes:
    """A short hash by which equal images are found."""
    return sha256(np.ascontiguousarray(pixels).data).digest()[:16]


def contrast(pixels: Images) -> float:
    """The largest standard deviation of a channel, in grey levels of 255."""
    return round(float(pixels.std(axis=(0, 1)).max()), 2)


def _as_os_error(error: sqlite3.OperationalError, file: Path) -> Exception:
    """What the disk refused by the system's own name, so that it is reported like any other."""
    name = error.sqlite_errorname
    number = errno.ENOSPC if name == "SQLITE_FULL" else errno.EIO if name.startswith("SQLITE_IOERR") else None
    return error if number is None else OSError(number, os.strerror(number), str(file))
