"""Tasks of one's own: class folders as a target, or the columns of a table, one task for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infocl.config import OwnTaskParams, TaskKind
from infocl.data.folder.layouts import PARTS, Entry, find_entries, table_rows, warn_of_links
from infocl.data.folder.near import report_near
from infocl.data.folder.reader import about_lost, load_folder, surveyed
from infocl.data.folder.survey import KeptImages
from infocl.data.raw import RawSet, RawSplit, Request
from infocl.prepared.tasks import check_numbers, check_target, judged_labels
from infocl.runtime.errors import UserError
from infocl.runtime.paths import REJECTED

Answer = str | float | tuple[str, ...] | None  # None: the image has no answer, and takes no part in the task
SEPARATOR, NO_LABEL = ";", "-"


@dataclass(frozen=True)
class Column:
    """What a column of a table holds."""

    name: str
    kind: TaskKind


@dataclass(frozen=True)
class Table:
    """A table as read: the answers of each image by its path, in the order of `columns`."""

    file: Path
    columns: list[Column]
    answers: Mapping[str, Sequence[Answer]]
    entries: list[Entry]


def load_own(name: str, own: OwnTaskParams, request: Request) -> Iterator[tuple[str, RawSet]]:
    """The sets of a target of one's own, by the folders that they go to; each is written before the next.

    Of a table with named columns the first is the images, called `name`, and the others the tasks.

    Args:
        name: of the target.
        own: its description.
        request: of the targets; `raw` is `transfer.root`.

    Raises:
        UserError: the folder or the table is missing or damaged, or an answer cannot be judged.
    """
    root = request.raw / own.folder
    rejected = REJECTED.with_name(f"rejected-{name}.csv")
    if not root.is_dir():
        raise UserError(
            f"{root} is not a folder; set transfer.own.{name}.folder to the one that holds the images, "
            "named from transfer.root"
        )
    if own.columns:
        warn_of_links(request.raw, root)
        yield from _columns(name, own, replace(request, raw=root), rejected)
        return
    folder = request.data.folder.model_copy(update={"csv": own.csv, "label": "label"})
    data = request.data.model_copy(update={"root": str(root), "folder": folder})
    found = load_folder(replace(request, data=data), rejected, request.raw)
    if found.classes is None:
        raise UserError(
            f"{root} has no classes, so transfer.own.{name} is no task; put the images into class folders, "
            "or name a csv"
        )
    labels = {part: found.splits[part].labels for part in PARTS}
    check_target(labels["train"], labels["test"], str(root), found.classes)
    yield name, replace(found, about={**found.about, **_about("class", f"the classes of {root.name}")})


def _about(kind: TaskKind, asks: str) -> dict[str, Any]:
    return {"kind": kind, "task": {"asks": asks, "changed_by_views": False, "limits": None}}


def _columns(name: str, own: OwnTaskParams, request: Request, rejected: Path) -> Iterator[tuple[str, RawSet]]:
    table, params = read_table(request.raw, own, f"transfer.own.{name}.csv"), request.data.folder
    if _of_the_source(request, table.file):
        # The split of the source, so that no test image of a column was pretrained on.
        survey = surveyed(request, request.raw, find_entries(request.raw, own.csv, params.label), rejected)
    else:
        survey = surveyed(request, request.raw, table.entries, rejected, labelled=False)
        given = any(entry.part for entry in table.entries)
        classes = None if given else _whole_column(table)
        survey.relabel(lambda path: None if classes is None else str(table.answers[path][classes]))
    survey.split(params.test_share, params.split_seed)
    images = {part: replace(split, labels=None) for part, split in survey.splits().items()}
    listed = rejected.with_name(rejected.name.replace("rejected", "near-duplicates"))
    near = report_near(survey, listed)
    about = {"decoder": survey.store.decoder, "rejected": survey.kinds(), **near}
    source, seen = f"folder {request.raw.name}", survey.source_sha256(with_labels=False)
    whole = RawSet(None, source, params.licence, seen, images, about=about)
    yield name, whole
    answers = {part: [table.answers[path] for path in survey.names(part)] for part in PARTS}
    for number, (task, column) in enumerate(zip(own.tasks(name), table.columns, strict=True)):
        values = {part: [row[number] for row in rows] for part, rows in answers.items()}
        rows = {part: np.flatnonzero([one is not None for one in found]) for part, found in values.items()}
        where = f"column {column.name} of {table.file}"
        labels, names, more = _encode(
            column, {part: [values[part][row] for row in rows[part]] for part in PARTS}, where
        )
        if column.kind == "class":
            answered = {str(row[number]) for row in table.answers.values() if row[number] is not None}
            more |= about_lost(sorted(answered - set(names or ())), where)
        shared = all(len(rows[part]) == len(values[part]) for part in PARTS)
        splits = {
            part: RawSplit(
                images[part].images if shared else KeptImages(survey, part, rows[part]), labels[part]
            )
            for part in PARTS
        }
        asked = {**_about(column.kind, f"the column {column.name} of {table.file.name}"), **about, **more}
        yield (
            task,
            replace(whole, classes=names, splits=splits, images_in=name if shared else None, about=asked),
        )


def _of_the_source(request: Request, table: Path) -> bool:
    """Whether a table is the one that the source's images and classes come from."""
    data = request.data
    root = Path(data.root)
    source = (root, root / data.folder.csv)
    return (
        data.name == "folder"
        and bool(data.folder.csv)
        and [path.resolve() for path in source] == [request.raw.resolve(), table.resolve()]
    )


def _whole_column(table: Table) -> int | None:
    """The first column of classes that every image has an answer in: a share of each class is held out."""
    for number, column in enumerate(table.columns):
        if column.kind == "class" and all(row[number] is not None for row in table.answers.values()):
            return number
    return None


def read_table(root: Path, own: OwnTaskParams, key: str) -> Table:
    """Read a table's answers.

    Raises:
        UserError: it is missing or damaged, lacks a column, or a number is none; `key` names the table.
    """
    file = root / own.csv
    columns = [Column(name, kind) for name, kind in own.columns.items()]
    answers: dict[str, list[Answer]] = {}
    entries: list[Entry] = []
    for where, row in table_rows(root, file, key):
        if lacking := [column.name for column in columns if column.name not in row]:
            raise UserError(
                f"{file} has no column {lacking[0]} but {', '.join(row)}; correct "
                f"{key.removesuffix('.csv')}.columns"
            )
        given = [_answer(row[column.name].strip(), column, where) for column in columns]
        answers[row["path"]] = given
        entries.append(
            Entry(row["path"], row.get("split"), repr(given))
        )  # equal images must have equal answers
    return Table(file, columns, answers, entries)


def _answer(text: str, column: Column, where: str) -> Answer:
    """An answer as the table writes it; an empty cell has none."""
    if not text:
        return None
    if column.kind == "class":
        return text
    if column.kind == "labels":
        return (
            () if text == NO_LABEL else tuple(sorted({one.strip() for one in text.split(SEPARATOR)} - {""}))
        )
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"{where} has {text!r} in the column {column.name}, which holds numbers; correct it, or leave it "
            "empty where none is known"
        )
    return number


def _encode(
    column: Column, values: Mapping[str, list[Any]], where: str
) -> tuple[dict[str, npt.NDArray[Any]], list[str] | None, dict[str, Any]]:
    """Arrays by split, the names of classes or labels, and more for `meta.json`."""
    if column.kind == "number":
        numbers = {part: np.array(found, np.float64) for part, found in values.items()}
        check_numbers(numbers["train"], numbers["test"], where)
        return numbers, None, {}
    if column.kind == "class":
        names = sorted({one for found in values.values() for one in found})
        index = {one: code for code, one in enumerate(names)}
        codes = {part: np.array([index[one] for one in found], np.int64) for part, found in values.items()}
        check_target(codes["train"], codes["test"], where, names)
        return codes, names, {}
    names = sorted({one for found in values.values() for row in found for one in row})
    marks = {part: _marks(found, names) for part, found in values.items()}
    kept = judged_labels(marks["train"], marks["test"], where, names)
    rare = [one for one, keep in zip(names, kept, strict=True) if not keep]
    if rare:
        print(f"{where}: too few images have or lack {', '.join(rare)}; not judged", flush=True)
    marks = {part: np.ascontiguousarray(matrix[:, kept]) for part, matrix in marks.items()}
    return marks, [one for one, keep in zip(names, kept, strict=True) if keep], {"not_judged": rare}


def _marks(found: Sequence[Sequence[str]], names: Sequence[str]) -> npt.NDArray[np.int64]:
    """int64 (N, C): 1 where an image has a label."""
    index = {one: code for code, one in enumerate(names)}
    marks = np.zeros((len(found), len(names)), np.int64)
    pairs = [(row, index[one]) for row, labels in enumerate(found) for one in labels]
    if pairs:
        marks[tuple(np.transpose(pairs))] = 1
    return marks
