"""`python -m benchmarks.search [ROWS ...]`: nearest neighbours by all rows and by an index, in one run.

The rows are embeddings that exports/encoder/ gives of drawn shapes, in a table as `infocl embed` writes it.
Where hnswlib and usearch are installed, their graphs are measured beside that of faiss.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.measure import timed
from benchmarks.publish import about, publish, table
from infocl.config.file import load_params
from infocl.data.embedded.shapes import draw_split
from infocl.deploy.index import ADDING, LINKS, SEARCHING, open_index
from infocl.deploy.search import Numbers, nearest, unit
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.table import EmbeddingTable, Floats, as_batch, table_schema
from infocl.deploy.trust import open_trusted
from infocl.runtime.paths import EXPORT

ROWS, QUERIES, NEAREST, BATCH = (10_000, 30_000), 1000, 10, 256
TITLES = (
    *("rows", "search", "built in", "one query", "ratio", "1,000 queries", "ratio"),
    f"recall at {NEAREST}",
)
Search = Callable[[Floats, int], tuple[Any, Any]]


def embed_drawn(model: OnnxEncoder, count: int, split: str) -> Floats:
    """Embeddings of so many drawn shapes of a split."""
    data = load_params().data
    shapes = data.shapes.model_copy(update={f"{split}_images": count})
    images, _ = draw_split(shapes, data.image_size, split)
    return np.concatenate([model.embed(images[at : at + BATCH]) for at in range(0, count, BATCH)])


def write_table(place: Path, model: OnnxEncoder, embeddings: Floats) -> EmbeddingTable:
    """A table as `infocl embed` writes it."""
    schema = table_schema(model)
    with pq.ParquetWriter(place, schema) as writer:
        for start in range(0, len(embeddings), 1024):
            some = embeddings[start : start + 1024]
            writer.write_batch(as_batch([f"{start + row}.png" for row in range(len(some))], some, schema))
    return EmbeddingTable(place)


def row(
    name: str, rows: int, build: float, search: Search, queries: Floats, exact: Numbers
) -> dict[str, Any]:
    """Figures of one way to search, its recall against `exact` (Q, k)."""
    others = itertools.cycle(queries)  # the same one would be found in the processor's caches
    one = timed(lambda: search(next(others)[None], NEAREST), repeats=25)
    many = timed(lambda: search(queries, NEAREST), repeats=3, warm_up=1)
    found, _ = search(queries, NEAREST)
    return {
        "rows": rows,
        "search": name,
        "build_s": build,
        "one_ms": 1e3 * one,
        "thousand_ms": 1e3 * many,
        "recall": float((np.asarray(found)[:, :, None] == exact[:, None, :]).any(2).mean()),
    }


def build_hnswlib(directions: Floats) -> Search:
    import hnswlib

    graph = hnswlib.Index("ip", directions.shape[1])
    graph.init_index(len(directions), M=LINKS, ef_construction=ADDING)
    graph.set_ef(SEARCHING)
    graph.set_num_threads(1)
    graph.add_items(directions)
    return lambda queries, count: graph.knn_query(queries, count)


def build_usearch(directions: Floats) -> Search:
    from usearch.index import Index

    sizes = {"connectivity": LINKS, "expansion_add": ADDING, "expansion_search": SEARCHING}
    graph = Index(ndim=directions.shape[1], metric="ip", **sizes)
    graph.add(np.arange(len(directions)), directions, threads=1)

    def search(queries: Floats, count: int) -> tuple[Any, Any]:
        found = graph.search(queries, count, threads=1)
        return found.keys.reshape(len(queries), -1), found.distances

    return search


OTHERS = {"hnswlib": build_hnswlib, "usearch": build_usearch}


def measure(table: EmbeddingTable, directions: Floats, queries: Floats, folder: Path) -> list[dict[str, Any]]:
    """All ways to search a table; `directions` are its rows and `queries` others, all of length 1."""
    exact, _ = nearest(table, queries, NEAREST)
    rows = [row("all rows", table.rows, 0.0, lambda some, k: nearest(table, some, k), queries, exact)]
    start = time.perf_counter()
    index = open_index(folder, table)
    built = time.perf_counter() - start
    rows.append(row("index (faiss)", table.rows, built, index.nearest, queries, exact))
    rows[-1]["open_ms"] = 1e3 * timed(lambda: open_index(folder, table), repeats=3)
    for name, build in OTHERS.items():
        if find_spec(name):
            start = time.perf_counter()
            search = build(directions)
            rows.append(row(name, table.rows, time.perf_counter() - start, search, queries, exact))
    for each in rows:
        for key in ("one_ms", "thousand_ms"):
            each[key.replace("ms", "ratio")] = rows[0][key] / each[key]
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    """As a row of the table."""
    built = f"{row['build_s']:.1f} s" if row["build_s"] else "-"
    one, many = ((f"{row[f'{n}_ms']:.2f} ms", f"{row[f'{n}_ratio']:.2g}") for n in ("one", "thousand"))
    return [f"{row['rows']:,}", row["search"], built, *one, *many, f"{row['recall']:.4f}"]


def main() -> None:
    """Measure tables of so many rows, and write results/search.md and .json."""
    counts = [int(word) for word in sys.argv[1:]] or ROWS
    model = OnnxEncoder(open_trusted(EXPORT, "float32", None), "float32")
    embeddings = embed_drawn(model, max(counts), "train")
    queries = unit(embed_drawn(model, QUERIES, "test"))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for count in counts:
            stored = write_table(Path(place) / f"{count}.parquet", model, embeddings[:count])
            rows += measure(stored, unit(embeddings[:count]), queries, Path(place) / f"{count}.index")
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    card = model.export.card
    described = about(threads=threads, encoder=card.weights_sha256[:12], dim=card.dim)
    opened = ", ".join(f"{each['open_ms']:.0f} ms of {each['rows']:,}" for each in rows if "open_ms" in each)
    lines = [
        f"Embeddings of drawn shapes; {QUERIES:,} others are the queries.",
        "A ratio is to the look at all rows, which reads the Parquet file each time: above 1 is faster.",
        f"Graphs have {LINKS} links, {ADDING} candidates when built and {SEARCHING} when searched.",
        f"Opening the index takes {opened} rows.",
        f"Recall is the share of the {NEAREST} nearest rows that are among those found.",
        "",
        *table(TITLES, map(cells, rows)),
    ]
    publish("search", "Search, measured on", lines, described, rows=rows)


if __name__ == "__main__":
    main()
