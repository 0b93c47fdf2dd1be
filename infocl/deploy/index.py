"""An index over a table of embeddings, for more rows or queries than a look at every row allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from infocl.deploy.search import Numbers, unit
from infocl.deploy.table import EmbeddingTable, Floats
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.files import read_json, replacing_folder, write_json

GRAPH_FILE, ABOUT_FILE = "graph.faiss", "index.json"
# HNSW (Malkov and Yashunin, TPAMI 2020): links of a node, and candidates when one is added and when one is
# searched for. What they give: benchmarks/results/search.md.
LINKS, ADDING, SEARCHING = 16, 128, 64


class EmbeddingIndex:
    """A graph of the directions of a table's rows.

    Raises:
        UserError: the folder holds none that faiss reads, or not of so many rows.
    """

    def __init__(self, folder: Path, table: EmbeddingTable) -> None:
        again = f"remove {folder}, and it is built again"
        try:
            self.graph: Any = faiss.read_index(str(folder / GRAPH_FILE))
            shape = self.graph.ntotal, self.graph.d
        except Exception as error:  # faiss raises what its C++ does
            raise UserError(f"{folder / GRAPH_FILE} cannot be used ({one_line(error)}); {again}") from None
        if shape != (table.rows, table.dim):
            raise UserError(f"{folder / GRAPH_FILE} holds {shape}, not {(table.rows, table.dim)}; {again}")

    def nearest(self, directions: Floats, count: int) -> tuple[Numbers, Floats]:
        """Rows probably nearest to directions (Q, D) of length 1, and their cosines, each (Q, count)."""
        self.graph.hnsw.efSearch = max(SEARCHING, count)
        cosines, numbers = self.graph.search(directions, count)
        return numbers, cosines


def open_index(folder: Path, table: EmbeddingTable) -> EmbeddingIndex:
    """The index of a table in a folder, which is built first where it is missing or of other rows.

    Raises:
        UserError: the folder holds something else, or a damaged index.
    """
    about = {"table": table.fingerprint, "rows": table.rows}
    if folder.exists() and not (folder / ABOUT_FILE).is_file():
        raise UserError(f"{folder} is not an index of infocl search; name a new folder with --index")
    if not folder.exists() or read_json(folder / ABOUT_FILE, f"remove {folder}") != about:
        print(f"Building an index of {table.rows:,} rows in {folder} ...", flush=True)
        with replacing_folder(folder) as temporary:
            faiss.write_index(build_graph(table), str(temporary / GRAPH_FILE))
            write_json(temporary / ABOUT_FILE, about)
    return EmbeddingIndex(folder, table)


def build_graph(table: EmbeddingTable) -> Any:
    """HNSW by the inner product over the directions of all rows, which are held in memory."""
    graph = faiss.IndexHNSWFlat(table.dim, LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = ADDING
    for block in table.blocks():
        graph.add(np.ascontiguousarray(unit(block.embeddings)))
    return graph
