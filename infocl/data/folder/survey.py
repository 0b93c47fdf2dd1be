"""What is known of each file of a folder: its split, its class, what it holds, and whether it is of use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from infocl.config import FolderParams
from infocl.data.folder import queries
from infocl.data.folder.layouts import PARTS, Entry
from infocl.data.folder.queries import SPLITS
from infocl.data.raw import Images, Labels, RawSplit
from infocl.data.store import PixelStore
from infocl.data.stream import LINES, chunk_images
from infocl.runtime.errors import UserError
from infocl.runtime.progress import StepProgress


@dataclass(frozen=True)
class Rejected:
    """A file that is of no use, and why."""

    name: str
    kind: str
    reason: str


class Survey:
    """All files of a folder, in a fixed order, in the store's database: memory does not grow with them.

    Args:
        root: the folder.
        entries: its files, in any order.
        store: where they are decoded.
    """

    def __init__(self, root: Path, entries: Iterable[Entry], store: PixelStore) -> None:
        self.root, self.store = root, store
        self.database = store.database
        self.database.executescript(queries.TABLES)
        with store.changes():
            self.database.executemany("INSERT INTO found VALUES (?, ?, ?, ?)", map(_row, entries))
            self.database.execute(queries.IN_ORDER)
            self.database.execute("DROP TABLE found")
        self.files = self._count("SELECT count(*) FROM files")
        twice = "SELECT name FROM files GROUP BY name HAVING count(*) > 1 LIMIT 1"
        if row := self.database.execute(twice).fetchone():
            raise UserError(f"{root / os.fsdecode(row[0])} is named twice; name each file once")

    def _count(self, query: str) -> int:
        return int(self.database.execute(query).fetchone()[0])

    def parts(self) -> dict[str | None, int]:
        """How many files there are by their given split."""
        query = "SELECT part, count(*) FROM files GROUP BY part ORDER BY part"
        rows = self.database.execute(query)
        return {None if part is None else PARTS[part]: count for part, count in rows}

    def look(self) -> None:
        """Hash every file and decode those that the store does not know, with a progress bar."""
        step = chunk_images(self.store.size)
        chunks = -(-self.files // step)
        with StepProgress("looking at files", chunks, done=0, line_every=max(1, chunks // LINES)) as progress:
            for start in range(0, self.files, step):
                self._look_at(start, start + step)
                progress.advance()
                progress.figures(
                    f"{min(start + step, self.files):,} of {self.files:,} files, "
                    f"{self.store.decoded:,} of them decoded now"
                )

    def _look_at(self, start: int, stop: int) -> None:
        query = "SELECT position, name FROM files WHERE position >= ? AND position < ? ORDER BY position"
        rows = self.database.execute(query, (start, stop)).fetchall()
        seen = self.store.look_at([self.root / os.fsdecode(name) for _, name in rows])
        with self.store.changes():
            self.database.executemany(
                "UPDATE files SET digest = ?, kind = ?, reason = ? WHERE position = ?",
                [(*one, position) for one, (position, _) in zip(seen, rows, strict=True)],
            )

    def judge(self, params: FolderParams) -> None:
        """Mark what is tiny, near-constant, or shows the same as another file."""
        with self.store.changes():
            self.database.execute(queries.TINY, (params.min_side,))
            self.database.execute(queries.CONSTANT, (params.min_contrast,))
            self.database.execute(queries.CONFLICTING)
            self.database.execute(queries.EQUAL)

    def peak(self) -> int | None:
        """The largest sample of the files of 16 bits that do not say how many they use; None without any."""
        found = self.database.execute("SELECT max(peak) FROM files JOIN facts USING (digest)").fetchone()[0]
        return None if found is None else int(found)

    def kinds(self) -> dict[str, int]:
        """How many files are of no use, by what is wrong with them, the most frequent first."""
        query = "SELECT kind, count(*) FROM files WHERE kind IS NOT NULL GROUP BY kind ORDER BY 2 DESC, 1"
        return dict(self.database.execute(query).fetchall())

    def rejected(self) -> Iterator[Rejected]:
        """The files that are of no use, in order."""
        query = "SELECT name, kind, reason FROM files WHERE kind IS NOT NULL ORDER BY position"
        for name, kind, reason in self.database.execute(query):
            yield Rejected(os.fsdecode(name), kind, reason)

    def split(self, share: float, seed: int) -> None:
        """Give each file of use its split: the given one, or `share` of each class held out by `seed`.

        Raises:
            UserError: a class has too few files of use.
        """
        with self.store.changes():
            if self._count("SELECT count(*) FROM files WHERE part IS NULL"):
                self._hold_out(share, seed)
            labelled = self.classes() is not None
            self.database.execute(queries.KEEP, (not labelled,))
            if labelled and self._count(queries.NO_CLASS):
                self.database.execute(queries.KEEP_ALL)
        for part in PARTS:
            if empty := [label for label, count in self.counts(part).items() if not count]:
                of = f" of class {', '.join(empty)}" if empty != [""] else ""
                raise UserError(f"{self.root} has no image{of} that is of use in {part}; add some")

    def _hold_out(self, share: float, seed: int) -> None:
        """Hold out `share` of each class, at least one image and not all, the same on every run."""
        classes = self.classes()
        known = "kind IS NULL" if classes is None else "kind IS NULL AND label IS NOT NULL"
        labels = self._labels(f"SELECT label FROM files WHERE {known} ORDER BY position", classes)
        groups = np.zeros(len(labels), np.int64) if classes is None else labels
        counts = np.bincount(groups, minlength=len(classes or [""]))
        if counts.min() < 2:
            short = [classes[row] for row in np.flatnonzero(counts < 2)] if classes else []
            of = f"{self.root / short[0]}" if short else f"{self.root}"
            many = "a single image" if counts[counts < 2].max() else "no image of use"
            more = f" (so do {', '.join(short[1:])})" if short[1:] else ""
            raise UserError(f"{of} holds {many}, which cannot be split{more}; add more or remove it")
        keys = np.random.default_rng(seed).random(len(groups))
        quota = np.clip(np.rint(share * counts).astype(np.int64), 1, counts - 1)
        held = np.zeros(len(groups), bool)
        for group, most in enumerate(quota):
            rows = np.flatnonzero(groups == group)
            held[rows[np.argsort(keys[rows], kind="stable")[:most]]] = True
        self.database.execute("UPDATE files SET part = 0 WHERE kind IS NULL")
        of_use = self.database.execute(f"SELECT position FROM files WHERE {known} ORDER BY position")
        positions = np.fromiter((position for (position,) in of_use), np.int64)[held]
        chosen = ((int(position),) for position in positions)
        self.database.executemany("UPDATE files SET part = 1 WHERE position = ?", chosen)

    def classes(self) -> list[str] | None:
        """The names of the classes that have files of use, sorted; None without labels."""
        return [os.fsdecode(label) for (label,) in self.database.execute(queries.CLASSES)] or None

    def lost_classes(self) -> list[str]:
        """The names of the classes all of whose files are of no use, sorted."""
        return [os.fsdecode(label) for (label,) in self.database.execute(queries.LOST)]

    def counts(self, part: str) -> dict[str, int]:
        """How many images of use each class has in a split; one class without a name when unlabelled."""
        query = "SELECT label, count(*) FROM kept WHERE part = ? GROUP BY label"
        found = dict(self.database.execute(query, (SPLITS.index(part),)).fetchall())
        return {name: found.get(os.fsencode(name) or None, 0) for name in self.classes() or [""]}

    def labels(self, part: str) -> Labels | None:
        """The classes of a split's images, int64 (N,)."""
        classes = self.classes()
        query = f"SELECT label FROM kept WHERE part = {PARTS.index(part)} ORDER BY rank"
        return None if classes is None else self._labels(query, classes)

    def splits(self) -> dict[str, RawSplit]:
        """The splits, whose images are read from the store where they are sliced.

        There is `pretrain`, of all training images and without labels, where some have no class.
        """
        return {
            part: RawSplit(
                KeptImages(self, part),
                self.labels(part) if part in PARTS else None,
                partial(self.listing, part),
            )
            for part in SPLITS
            if part in PARTS or self.count(part)
        }

    def count(self, part: str) -> int:
        """How many images of use a split has."""
        return self._count(f"SELECT count(*) FROM kept WHERE part = {SPLITS.index(part)}")

    def names(self, part: str) -> list[str]:
        """The files of a split, in order."""
        query = f"SELECT name FROM kept WHERE part = {SPLITS.index(part)} ORDER BY rank"
        return [os.fsdecode(name) for (name,) in self.database.execute(query)]

    def relabel(self, label: Callable[[str], str | None]) -> None:
        """Give each file another class, or None, by its name."""

        def new(name: bytes) -> bytes | None:
            given = label(os.fsdecode(name))
            return None if given is None else os.fsencode(given)

        self.database.create_function("relabelled", 1, new)
        with self.store.changes():
            self.database.execute("UPDATE files SET label = relabelled(name)")

    def _labels(self, query: str, classes: list[str] | None) -> Labels:
        index: dict[bytes | None, int] = {os.fsencode(name): i for i, name in enumerate(classes or ())}
        rows = self.database.execute(query)
        return np.fromiter((index.get(label, 0) for (label,) in rows), np.int64)

    def sample(self, kind: str | None, label: str | None, most: int) -> list[str]:
        """At most so many files of a kind that is of no use, or of use and of a class, evenly spread."""
        query = (
            "SELECT name, min(nth) FROM (SELECT name, row_number() OVER (ORDER BY position) - 1 AS nth, "
            "  count(*) OVER () AS total FROM files WHERE kind IS ?1 AND (kind IS NOT NULL OR label IS ?2)) "
            "GROUP BY nth * ?3 / total ORDER BY 2"
        )
        rows = self.database.execute(query, (kind, None if label is None else os.fsencode(label), most))
        return [os.fsdecode(name) for name, _ in rows]

    def listing(self, part: str) -> Iterator[tuple[Any, ...]]:
        """The values of `LISTED` for each image of a split."""
        query = (
            "SELECT name, hex(digest), width, height, contrast, hex(pixels), peak "
            "FROM kept JOIN facts USING (digest) WHERE part = ? ORDER BY rank"
        )
        for name, digest, *about, pixels, peak in self.database.execute(query, (SPLITS.index(part),)):
            yield (os.fsdecode(name), digest.lower(), *about, pixels.lower(), peak)

    def source_sha256(self, *, with_labels: bool) -> str:
        """One hash over the names and contents of all images, and their classes where no name holds them."""
        digest = sha256()
        query = "SELECT name, lower(hex(digest)), label FROM kept ORDER BY part, rank"
        for name, content, label in self.database.execute(query):
            label_bytes = b" " + label if with_labels and label else b""
            digest.update(name + b" " + content.encode() + label_bytes + b"\n")
        return digest.hexdigest()


class KeptImages:
    """The images of a split of a survey, or those of some rows, read from its store where they are sliced."""

    def __init__(self, survey: Survey, part: str, rows: Sequence[int] | Labels | None = None) -> None:
        self._survey, self._part = survey, SPLITS.index(part)
        self._rows = range(survey.count(part)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice) -> Images:
        """The images of a slice."""
        query, find = "SELECT digest FROM kept WHERE part = ? AND rank = ?", self._survey.database.execute
        found = [find(query, (self._part, int(rank))).fetchone() for rank in self._rows[rows]]
        return self._survey.store.pixels([digest for (digest,) in found])


def _row(entry: Entry) -> tuple[bytes, bytes, int | None, bytes | None]:
    """An entry as the table `found` holds it, with a key that sorts as the parts of a path do."""
    name = os.fsencode(entry.name)
    part = None if entry.part is None else PARTS.index(entry.part)
    return name, name.replace(b"/", b"\0"), part, None if entry.label is None else os.fsencode(entry.label)
