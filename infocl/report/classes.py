"""Each class of a task: how often it is recognised, and what it is taken for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from infocl.evaluate.wilson import wilson95
from infocl.report.inputs import Inputs
from infocl.report.pictures import Picture
from infocl.results.comparison import SOURCE
from infocl.results.reading import Confusion, TaskResult
from infocl.runtime.text import interval, percent

TABLE = 20  # classes at most whose confusions are a table of numbers; those of more are a picture
EXTREMES = 10  # classes and confusions named of very many
SIDE = 640  # px of the picture, about
COLOURS = np.array([[255, 255, 255], [213, 223, 248], [47, 87, 207], [16, 28, 78]], np.float64)
STOPS = [0.0, 0.1, 0.6, 1.0]  # shares that have these colours


class ClassRow(NamedTuple):
    """A class: its share of right answers (or the average precision of a label), 0..1, and it in words."""

    name: str
    share: float
    ends: tuple[float, float] | None
    words: str


class Cell(NamedTuple):
    """A field of the table of confusions, in words, and how strongly it is coloured, in %."""

    text: str
    told: int
    title: str


class ClassReport(NamedTuple):
    """A task by its classes, worst first where there are very many.

    Attributes:
        name: of the task.
        size: how many classes or labels it has.
        noun: classes, or labels.
        shown: all rows, or the worst and the best.
        rest: all rows where not all are shown.
        table: confusions as rows of cells, in the order of `shown`; empty for very many classes, for labels.
        picture: confusions of very many classes.
        confused: which class was most often taken for which, in words.
    """

    name: str
    size: int
    noun: str
    shown: list[ClassRow]
    rest: list[ClassRow]
    table: list[list[Cell]]
    picture: Picture | None
    confused: list[str]


def class_reports(inputs: Inputs) -> list[ClassReport]:
    """The source and every target that has classes or labels, in the order of the page."""
    source = {SOURCE: inputs.probe.source} if inputs.probe.source else {}
    names = {SOURCE: inputs.data.name}
    found = []
    for key, result in (source | inputs.transfer.targets).items():
        name = names.get(key, key)
        if result.confusion:
            found.append(_of_classes(name, result.confusion))
        elif result.label_names:
            found.append(_of_labels(name, result))
    return found


def _of_labels(name: str, result: TaskResult) -> ClassReport:
    rows = [
        ClassRow(label, share, None, f"average precision {percent(share)}")
        for label, share in zip(result.label_names, result.label_precisions, strict=True)
    ]
    shown, rest = _shown(rows)
    return ClassReport(name, len(rows), "labels", shown, rest, [], None, [])


def _of_classes(name: str, confusion: Confusion) -> ClassReport:
    counts = matrix(confusion)
    totals, right = counts.sum(axis=1), counts.diagonal()
    rows = [_class_row(*one) for one in zip(confusion.classes, right.tolist(), totals.tolist(), strict=True)]
    shown, rest = _shown(rows)
    few = len(rows) <= TABLE
    return ClassReport(
        name=name,
        size=len(rows),
        noun="classes",
        shown=shown,
        rest=rest,
        table=[list(_cells(confusion.classes, counts, row)) for row in range(len(rows))] if few else [],
        picture=None if few else draw_confusions(counts),
        confused=list(_confused(confusion.classes, counts)),
    )


def matrix(confusion: Confusion) -> npt.NDArray[np.int64]:
    """How many images of each class (rows) were taken for which (columns), (C, C)."""
    counts = np.zeros((len(confusion.classes),) * 2, np.int64)
    counts[confusion.truth, confusion.predicted] = confusion.count
    return counts


def _class_row(name: str, right: int, images: int) -> ClassRow:
    if not images:
        return ClassRow(name, 0.0, None, "no test image")
    low, high = wilson95(right, images)
    words = (
        f"{right:,} of {images:,} right, {percent(right / images)} (95 % interval {interval((low, high))})"
    )
    return ClassRow(name, right / images, (low, high), words)


def _shown(rows: list[ClassRow]) -> tuple[list[ClassRow], list[ClassRow]]:
    """All rows, or of very many the worst and the best; and all of them where some are not shown."""
    if len(rows) <= TABLE:
        return rows, []
    ranked = sorted(rows, key=lambda row: row.share)
    return ranked[:EXTREMES] + ranked[-EXTREMES:], rows


def _cells(classes: list[str], counts: npt.NDArray[np.int64], row: int) -> Iterator[Cell]:
    total = max(1, int(counts[row].sum()))
    for column, count in enumerate(counts[row].tolist()):
        title = f"{count:,} of {total:,} images of {classes[row]} taken for {classes[column]}"
        yield Cell(f"{count:,}" if count else "", round(55 * count / total), title)


def _confused(classes: list[str], counts: npt.NDArray[np.int64]) -> Iterator[str]:
    wrong = counts - np.diag(counts.diagonal())
    for place in np.argsort(-wrong, axis=None, kind="stable")[:EXTREMES]:
        truth, taken = divmod(int(place), len(classes))
        if wrong[truth, taken]:
            yield f"{classes[truth]} for {classes[taken]}: {wrong[truth, taken]:,} of {counts[truth].sum():,}"


def draw_confusions(counts: npt.NDArray[np.int64]) -> Picture:
    """A square for each pair of classes: rows are the true ones, dark where most of a row's images are."""
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    pixels = np.stack([np.interp(shares, STOPS, channel) for channel in COLOURS.T], axis=-1)
    scale = max(1, round(SIDE / len(counts)))
    image = Image.fromarray(pixels.round().astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1))
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return Picture(stream.getvalue(), image.width, image.height)
