"""The figures of the paper, to stand beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from infocl.config.file import read_yaml
from infocl.runtime.errors import UserError

FILE = Path(__file__).parent / "published.yaml"


class PublishedRow(NamedTuple):
    """One row of a published table; accuracies are shares in 0..1, without intervals."""

    objective: str
    regularizer: str
    weight: float
    accuracy: dict[str, float]  # by column: source, then targets

    @property
    def mean(self) -> float:
        """Mean over the published targets, computed here; the paper does not give it."""
        targets = [value for column, value in self.accuracy.items() if column != "source"]
        return sum(targets) / len(targets)


class Published(NamedTuple):
    """One table of the paper."""

    data: str  # what runs that compare with it were pretrained on, as `data_of` says it
    title: str
    targets: list[str]
    rows: list[PublishedRow]


def read_published(name: str) -> Published:
    """The published table of that name: cifar10, stl10 or imagenet (the data of pretraining).

    Raises:
        UserError: there is none.

    Reference: Wang et al., "Rethinking Minimal Sufficient Representation in Contrastive Learning",
    CVPR 2022, tables of linear evaluation.
    """
    tables = read_yaml(FILE)
    if name not in tables:
        raise UserError(f"there are no published figures for {name!r}; use one of {', '.join(tables)}")
    table = tables[name]
    columns = table["columns"]
    rows = [
        PublishedRow(
            objective,
            regularizer,
            float(weight),
            {column: value / 100 for column, value in zip(columns, values, strict=True)},
        )
        for objective, regularizer, weight, values in table["rows"]
    ]
    return Published(table["data"], table["title"], columns[1:], rows)
