"""Which files of a folder are images, and what their places or a CSV say of split and class."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from infocl.data.decoding import SUFFIXES
from infocl.runtime.errors import UserError

PARTS = ("train", "test")
UNLABELLED = (
    "unlabelled"  # a folder beside class folders, or beside train and test; learned from, never judged on
)


class Entry(NamedTuple):
    """A file by its path below the root, its split where one is given, and its class where it has one."""

    name: str
    part: str | None
    label: str | None


def find_entries(root: Path, table: str, label: str = "label") -> Iterator[Entry]:
    """The images below `root`, in no fixed order, one by one.

    Args:
        root: the folder.
        table: a CSV of columns path, label and split; empty to go by folders.
        label: the CSV's column of classes; empty for none.

    Raises:
        UserError: the layout is unclear, a folder holds no images, or the CSV is damaged.
    """
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder; name the folder that holds the images")
    if table:
        if Path(table).is_absolute() or ".." in Path(table).parts:
            raise UserError(f"data.folder.csv {table} must lie below data.root {root}; name it from there")
        return labelled_rows(root, root / table, label)
    if (root / "train").is_dir() and (root / "test").is_dir():
        classes = class_names(root / "train")
        if classes != class_names(root / "test"):
            raise UserError(f"{root}/train and {root}/test have different class folders; make them alike")
        entries = (entry for part in PARTS for entry in entries_below(root, root / part, classes, part))
        return chain(entries, _unlabelled(root, "train") if classes else ())
    classes = class_names(root)
    mixed = len(classes) > 1 and UNLABELLED in classes
    classes = [name for name in classes if name != UNLABELLED or not mixed]
    _check_classes(root, classes)
    return chain(entries_below(root, root, classes, None), _unlabelled(root, None) if mixed else ())


def _unlabelled(root: Path, part: str | None) -> Iterator[Entry]:
    """Images beside labelled ones that nobody has labelled."""
    if (root / UNLABELLED).is_dir():
        yield from entries_below(root, root / UNLABELLED, [], part)


def class_names(folder: Path) -> list[str]:
    """Subfolders that are not hidden, sorted.

    Raises:
        UserError: a name is not UTF-8.
    """
    names = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    for name in names:
        if readable(name) != name:
            raise UserError(
                f"the class folder {folder / readable(name)} has a name that is not UTF-8; rename it"
            )
    return names


def warn_of_links(root: Path, folder: Path) -> None:
    """Name links to folders that are read but that DVC, which watches `root`, does not follow.

    Args:
        root: `data.root` or `transfer.root`.
        folder: that holds the images, `root` or below it.
    """
    within = [path for path in (folder, *folder.parents) if root in path.parents]
    parts = [folder, *(folder / part for part in PARTS if (folder / part).is_dir())]
    below = [Path(entry) for part in parts for entry in os.scandir(part) if entry.is_symlink()]
    for path in (*within, *below):
        if path.is_symlink() and path.is_dir():
            print(
                f"{readable(str(path))} is a link to a folder, into which DVC does not look: no change there "
                f"makes a stage run again. Make a folder of links to its files: cp -rs {path.resolve()} ...",
                flush=True,
            )


def readable(name: str) -> str:
    """A file's name, with escapes such as \\xe9 for bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _check_classes(root: Path, classes: list[str]) -> None:
    """Refuse layouts that would be learned from in another way than they are meant."""
    if "train" in classes and class_names(root / "train"):
        raise UserError(
            f"{root / 'train'} has no {root / 'test'} beside it; add it, or rename the one you have"
        )
    if len(classes) == 1:
        raise UserError(
            f"{root / classes[0]} is the only class; add another, or set data.root to it to go without labels"
        )
    if classes and (
        stray := min((entry.path for entry in os.scandir(root) if _is_image(entry)), default=None)
    ):
        raise UserError(f"{stray} lies beside class folders; move it into one of them or remove it")


def entries_below(root: Path, folder: Path, classes: list[str], part: str | None) -> Iterator[Entry]:
    """The images of a split in their class folders, or in `folder` itself without classes.

    Raises:
        UserError: a folder holds no images.
    """
    labels: Sequence[str | None] = classes or [None]
    for label in labels:
        below = folder / label if label else folder
        empty = True
        for path in images_below(below):
            empty = False
            yield Entry(Path(path).relative_to(root).as_posix(), part, label)
        if empty:
            raise UserError(f"{below} holds no images; put some there or remove the folder")


def images_below(folder: str | Path) -> Iterator[str]:
    """Image files at any depth, but not below hidden folders, where programs keep thumbnails."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_image(entry):
                yield entry.path
            elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from images_below(entry.path)


def _is_image(entry: os.DirEntry[str]) -> bool:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path for each file costs more
    if suffix not in SUFFIXES or entry.name.startswith("."):
        return False
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:  # a link to itself, which the look at the file will name, as it does other broken links
        return True


def labelled_rows(root: Path, table: Path, label: str) -> Iterator[Entry]:
    """The rows of a CSV; a row whose class is empty is an image of no known class, to learn from alone.

    Raises:
        UserError: the CSV is damaged, lacks a column, or its columns do not say what is meant.
    """
    labelled = False
    for where, row in table_rows(root, table):
        if not labelled:
            labelled = _has_label(table, set(row), label)
        one = Entry(row["path"], row.get("split"), row.get(label) or None if label else None)
        if labelled and one.label is None and one.part == "test":
            raise UserError(
                f"{where} is a test image without a {label}; fill it in, or give it the split train"
            )
        yield one


def _has_label(table: Path, columns: set[str], label: str) -> bool:
    """Whether there is a column of classes; columns that might be one by a slip are refused."""
    if not label or label in columns:
        return bool(label)
    others = sorted(columns - {"path", "split"})
    if others or label != "label":
        raise UserError(
            f"{table} has no column {label} but {', '.join(others) or 'paths alone'}; set data.folder.label "
            'to the column of classes, or to "" to learn without classes'
        )
    return False


def table_rows(root: Path, table: Path, key: str = "data.folder.csv") -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row of a CSV stands, and its values, with the path as one below `root`; `key` names the CSV.

    Raises:
        UserError: the CSV is damaged, has no column path, a path or split is empty, or a split unknown.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = list(map(str, reader.fieldnames or []))
            if "path" not in columns or len(set(columns)) < len(columns):
                raise UserError(
                    f"{table} has the columns {', '.join(columns) or 'none'}; its first line must be "
                    "path,label or path,label,split, or name path and each other column once"
                )
            yield from _checked_rows(root, table, reader)
    except OSError as error:
        raise UserError(f"{key} {table} cannot be read ({error.strerror}); correct its name") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{table} is not a CSV in UTF-8 ({error}); save it as one") from None


def _checked_rows(
    root: Path, table: Path, reader: csv.DictReader[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    inside = PurePosixPath(table.parent.relative_to(root).as_posix())
    empty = True
    for row in reader:
        empty, where = False, f"{table} line {reader.line_num}"
        if None in row or None in row.values():
            raise UserError(f"{where} has not as many values as the first line has columns; correct it")
        missing = [column for column in ("path", "split") if row.get(column) == ""]
        if missing:
            raise UserError(
                f"{where} has no {missing[0]}; fill it in for every line, or leave out the column"
            )
        if row.get("split", "train") not in PARTS:
            raise UserError(f"{where} has the split {row['split']!r}; use train or test")
        yield where, row | {"path": _name(root, inside, row["path"], where)}
    if empty:
        raise UserError(f"{table} names no images; add a line for each")


def _name(root: Path, inside: PurePosixPath, given: str, where: str) -> str:
    """A path of the CSV as one below `root`: beside the CSV where such a file is, otherwise below `root`."""
    name = PurePosixPath(given)
    if name.is_absolute() or ".." in name.parts or not name.parts:
        raise UserError(f"{where} names {given}, which is not a path below {root}; write it from there")
    beside = inside / name
    return str(beside if (root / beside).exists() else name)
