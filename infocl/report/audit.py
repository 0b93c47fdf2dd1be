"""The heat map of the audit: per change of the image, how much of it each reader tells."""

from __future__ import annotations

from typing import NamedTuple

from infocl.results.audit import AuditResult
from infocl.results.comparison import Figure

FULL = 45  # % of the colour in a cell of R2 1: the darkest on which the page's ink is still well read


class Cell(NamedTuple):
    """R2 and its interval in words, and how much of the colour it gets, in %."""

    value: str
    interval: str
    told: int


class HeatRow(NamedTuple):
    """A change of the image, the cells of its readers, and what they allow to say."""

    name: str
    cells: list[Cell]
    sentence: str


def heat_rows(audited: AuditResult) -> list[HeatRow]:
    """All factors, in the order of `audit.factors`."""
    return [
        HeatRow(name, [_cell(figure) for figure in row.figures], _minus(audited.sentence(name)))
        for name, row in audited.factors.items()
    ]


def _cell(figure: Figure) -> Cell:
    low, high = figure.ci95
    share = min(1.0, max(0.0, figure.score))
    return Cell(_minus(f"{figure.score:.2f}"), _minus(f"{low:.2f} to {high:.2f}"), round(FULL * share))


def _minus(text: str) -> str:
    return text.replace("-0.00", "0.00").replace("-", "−")
