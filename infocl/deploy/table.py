"""The table of embeddings as Parquet: what `infocl embed` writes and `infocl search` reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from infocl.deploy.session import OnnxEncoder
from infocl.runtime.errors import UserError, one_line

SUFFIX, ABOUT = ".parquet", b"infocl"
ROWS = 16384  # that a reader holds at once
MADE = "make one with infocl embed"
Floats = npt.NDArray[np.float32]


def table_schema(model: OnnxEncoder) -> pa.Schema:
    """Columns `path` and `embedding` (D float32), and metadata that say which encoder made them."""
    about, raw = model.export.card, model.export.raw
    described = {
        "encoder_sha256": model.file.sha256,
        "encoder_file": model.file.file,
        "variant": model.variant,
        "dim": about.dim,
        "normalized": about.normalized,
        **{key: raw.get(key) for key in ("version", "data", "objective", "regularizer", "weights_sha256")},
    }
    columns = [("path", pa.string()), ("embedding", pa.list_(pa.float32(), about.dim))]
    return pa.schema(columns, metadata={ABOUT: json.dumps(described), "encoder_sha256": model.file.sha256})


def as_batch(paths: Sequence[str], embeddings: Floats, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of a table, of N paths and embeddings (N, D)."""
    numbers = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    return pa.record_batch([pa.array(paths, pa.string()), numbers], schema=schema)


class Block(NamedTuple):
    """Some rows of a table in their order; `start` is the number of the first."""

    start: int
    paths: pa.StringArray
    embeddings: Floats  # (n, D)


class EmbeddingTable:
    """A table of embeddings, read in blocks, so that memory does not grow with its rows.

    Args:
        place: a Parquet file, or a folder of them, read in the order of their names.

    Attributes:
        about: what the table says of its encoder.
        rows: number of them.

    Raises:
        UserError: there is no such table, or it was not made by `infocl embed`.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.files = sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place]
        if not place.exists() or not self.files:
            raise UserError(f"{place} is no Parquet file nor a folder of them; {MADE}")
        schemas = [self._footer(file).schema.to_arrow_schema() for file in self.files]
        self.about = self._described(schemas[0])
        for file, schema in zip(self.files, schemas, strict=True):
            if self._described(schema) != self.about or schema.field("embedding").type != self._type:
                raise UserError(
                    f"{file} and {self.files[0]} are not of one encoder; keep only the files of one"
                )
        self.rows = sum(self._footer(file).num_rows for file in self.files)

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""
        return int(self.about["dim"])

    @property
    def fingerprint(self) -> str:
        """Changes with the rows: a hash of the files' ends, which hold sizes and extremes of all parts."""
        ends = hashlib.sha256()
        for file in self.files:
            footer = self._footer(file)
            with file.open("rb") as stream:
                stream.seek(-footer.serialized_size, 2)
                ends.update(stream.read())
        return ends.hexdigest()

    def blocks(self, columns: Sequence[str] = ("path", "embedding")) -> Iterator[Block]:
        """All rows; columns that are left out are empty."""
        start = 0
        for file in self.files:
            for batch in pq.ParquetFile(file).iter_batches(ROWS, columns=list(columns)):
                yield self._block(start, batch)
                start += len(batch)

    def take(self, numbers: npt.NDArray[np.int64]) -> list[str]:
        """Paths of the rows with these numbers."""
        paths = np.empty(len(numbers), object)
        for block in self.blocks(["path"]):
            here = (block.start <= numbers) & (numbers < block.start + len(block.paths))
            paths[here] = block.paths.take(pa.array(numbers[here] - block.start)).to_pylist()
        return list(paths)

    def find(self, paths: Sequence[str]) -> dict[str, tuple[int, Floats]]:
        """Number and embedding (D,) of the first row of each path, where there is one."""
        found: dict[str, tuple[int, Floats]] = {}
        for block in self.blocks():
            if len(found) == len(set(paths)):
                break
            places = compute.index_in(pa.array(paths, pa.string()), block.paths).to_pylist()
            for path, place in zip(paths, places, strict=True):
                if place is not None and path not in found:
                    found[path] = block.start + place, block.embeddings[place]
        return found

    @property
    def _type(self) -> pa.DataType:
        return pa.list_(pa.float32(), self.dim)

    def _footer(self, file: Path) -> Any:
        try:
            return pq.read_metadata(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{file} cannot be read as Parquet ({one_line(error)}); {MADE}") from None

    def _described(self, schema: pa.Schema) -> dict[str, Any]:
        try:
            about: dict[str, Any] = json.loads((schema.metadata or {})[ABOUT])
            if schema.names == ["path", "embedding"] and isinstance(about["encoder_sha256"], str):
                return about | {"dim": int(about["dim"]), "variant": str(about["variant"])}
        except (KeyError, ValueError, TypeError):
            pass
        raise UserError(f"{self.place} has not the columns and metadata of embeddings; {MADE}")

    def _block(self, start: int, batch: pa.RecordBatch) -> Block:
        empty = pa.array([], pa.string())
        paths = batch.column("path") if "path" in batch.schema.names else empty
        if "embedding" not in batch.schema.names:
            return Block(start, paths, np.empty((0, self.dim), np.float32))
        numbers = batch.column("embedding").flatten().to_numpy()
        return Block(start, paths, numbers.reshape(-1, self.dim))
