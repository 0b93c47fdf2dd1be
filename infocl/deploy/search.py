"""`infocl search`: which embedded images are nearest to an image, exactly or by an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infocl.deploy.embed import embedded
from infocl.deploy.neighbours import write_page
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.table import EmbeddingTable, Floats
from infocl.deploy.trust import open_trusted
from infocl.runtime.errors import UserError

EXAMPLES = 12  # rows that are looked up where no query is named
NOT_A_ROW = -1
Numbers = npt.NDArray[np.int64]


class Neighbour(NamedTuple):
    """An image of the table, and the cosine of its embedding and the query's."""

    path: str
    cosine: float


def print_nearest(
    queries: Sequence[str],
    place: Path,
    *,
    count: int,
    index: Path | None,
    page: Path | None,
    encoder: Path,
    signers: Path | None,
) -> None:
    """Print the nearest images of each query, and show them on a page.

    The arguments are the options of `infocl search`, `place` being the table; `page` shows the images.

    Raises:
        UserError: the table, a query or the encoder cannot be used.
    """
    table = EmbeddingTable(place)
    names = list(queries) or _examples(table)
    rows, embeddings = _embedded(names, table, encoder, signers)
    wanted = min(count + 1, table.rows)  # a row finds itself
    if index is None:
        numbers, cosines = nearest(table, embeddings, wanted)
    else:
        from infocl.deploy.index import open_index

        numbers, cosines = open_index(index, table).nearest(unit(embeddings), wanted)
    paths = dict(zip(np.unique(numbers).tolist(), table.take(np.unique(numbers)), strict=True))
    found = {
        name: [
            Neighbour(paths[number], cosine)
            for number, cosine in zip(those.tolist(), near.tolist(), strict=True)
            if number != row
        ][:count]
        for name, row, those, near in zip(names, rows, numbers, cosines, strict=True)
    }
    for name, neighbours in found.items():
        print(name)
        for neighbour in neighbours:
            print(f"  {neighbour.cosine:.4f}  {neighbour.path}")
    if page is not None:
        write_page(page, found, table, exact=index is None)
        print(f"{page} shows them.")


def nearest(table: EmbeddingTable, queries: Floats, count: int) -> tuple[Numbers, Floats]:
    """The rows with the largest cosine, by one matrix product with each block of the table.

    Args:
        table: of N rows.
        queries: embeddings (Q, D) of any length.
        count: at most N.

    Returns:
        Numbers of rows and their cosines, each (Q, count), the nearest first.
    """
    directions = unit(queries)
    numbers: Numbers = np.empty((len(queries), 0), np.int64)
    cosines: Floats = np.empty((len(queries), 0), np.float32)
    for block in table.blocks():
        found = directions @ unit(block.embeddings).T
        best = _largest(found, count)
        numbers = np.hstack([numbers, block.start + best])
        cosines = np.hstack([cosines, np.take_along_axis(found, best, 1)])
        best = _largest(cosines, count)
        numbers, cosines = np.take_along_axis(numbers, best, 1), np.take_along_axis(cosines, best, 1)
    order = np.lexsort((numbers, -cosines), axis=1)
    return np.take_along_axis(numbers, order, 1), np.take_along_axis(cosines, order, 1)


def unit(embeddings: Floats) -> Floats:
    """Embeddings (N, D) of length 1; one that is zero stays so."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    directions: Floats = embeddings / lengths
    return directions


def _largest(values: Floats, count: int) -> Numbers:
    """Columns of the largest values of each row, (Q, at most count), in any order."""
    rest = max(0, values.shape[1] - count)
    return np.argpartition(values, rest, axis=1)[:, rest:] if rest else np.argsort(values, axis=1)


def _examples(table: EmbeddingTable) -> list[str]:
    spread = np.unique(np.linspace(0, table.rows - 1, EXAMPLES).astype(np.int64))
    return list(dict.fromkeys(table.take(spread)))


def _embedded(
    names: Sequence[str], table: EmbeddingTable, encoder: Path, signers: Path | None
) -> tuple[list[int], Floats]:
    """The row of each query, where it has one, and the embeddings of all (Q, D)."""
    known = table.find(names)
    files = [name for name in names if name not in known]
    for name in files:
        if not Path(name).exists():
            raise UserError(f"{name} is neither a path in {table.place} nor a file; name one of these")
    if files:
        variant = table.about["variant"]
        model = OnnxEncoder(open_trusted(encoder, variant, signers), variant)
        if model.file.sha256 != table.about["encoder_sha256"]:
            raise UserError(
                f"{table.place} was made by another encoder than {model.path}; name that one with --encoder, "
                "or embed the images again"
            )
        rows = list(embedded(model, [Path(name) for name in files]))
        for _, _, unread in rows:
            for _, error in unread:
                raise error
        embeddings = np.concatenate([some for _, some, _ in rows])
        known |= {name: (NOT_A_ROW, row) for name, row in zip(files, embeddings, strict=True)}
    return [known[name][0] for name in names], np.stack([known[name][1] for name in names])
