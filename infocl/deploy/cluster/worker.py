"""What one process of the cluster does: a part of the images to a file, whole or not at all."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from infocl.deploy.cluster.parts import SKIPPED, Done, Part, finished
from infocl.deploy.cluster.storage import Folder, is_remote, read
from infocl.deploy.embed import CHUNK, embedded
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.table import as_batch, table_schema
from infocl.deploy.trust import open_trusted
from infocl.runtime.errors import UserError, one_line

FETCHERS = 8  # objects of a bucket that are fetched at a time


class PartWriter:
    """One onnxruntime session with one thread, which has repeated the encoder's example on this machine.

    Args:
        encoder: files of the exported folder by name, so that its disk need not be shared.
        variant: one that it ships.
        output: folder or bucket of the parts.
        strict: refuse images that cannot be read, instead of naming them.

    Raises:
        UserError: this machine does not get the example's embeddings.
    """

    def __init__(self, encoder: Mapping[str, bytes], variant: str, output: str, *, strict: bool) -> None:
        self.folder, self.strict = Folder(output), strict
        with tempfile.TemporaryDirectory() as place:
            for name, content in encoder.items():
                (Path(place) / name).write_bytes(content)
            self.model = OnnxEncoder(open_trusted(Path(place), variant, None), variant, threads=1)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Write the part of a row of the data set, unless it is there; its answer says what went wrong."""
        part = Part(int(row["number"]), [str(name) for name in row["names"]])
        try:
            done = finished(self.folder, part) or self._write(part)
        except (UserError, OSError) as error:
            return {"images": 0, "skipped": "[]", "error": one_line(error)}
        return {"images": len(part.names), "skipped": json.dumps(done.skipped), "error": ""}

    def _write(self, part: Part) -> Done:
        schema, stream, skipped = table_schema(self.model), io.BytesIO(), []
        with pq.ParquetWriter(stream, schema) as writer:
            for start in range(0, len(part.names), CHUNK):
                with _on_disk(part.names[start : start + CHUNK]) as (names, errors):
                    skipped += errors
                    for paths, embeddings, unread in embedded(self.model, list(names)):
                        rows = [names[Path(path)] for path in paths]
                        writer.write_batch(as_batch(rows, embeddings, schema))
                        skipped += [str(error).replace(path, names[Path(path)]) for path, error in unread]
                if self.strict and skipped:
                    raise UserError(skipped[0])
            writer.add_key_value_metadata({SKIPPED.decode(): json.dumps(skipped)})
        self.folder.write(part.file, stream.getvalue())
        return Done(len(part.names) - len(skipped), skipped)


class Work(NamedTuple):
    """What is the same for all parts, as of `PartWriter`; the encoder by its SHA-256."""

    encoder_sha256: str
    variant: str
    output: str
    strict: bool


_ready: dict[Work, PartWriter] = {}  # of this process, for the next part


def write_part(number: int, names: list[str], encoder: list[Any], work: Work) -> dict[str, Any] | str:
    """Write a part of the images; its answer as of `PartWriter`, or what went wrong.

    Args:
        number: of the part.
        names: of its images.
        encoder: a reference of Ray to the files of the exported folder, in a list, so that Ray fetches them
            where they are needed alone.
        work: what is the same for all parts.
    """
    import ray

    try:
        if work not in _ready:
            _ready.clear()
            _ready[work] = PartWriter(ray.get(encoder[0]), work.variant, work.output, strict=work.strict)
        answer = _ready[work]({"number": number, "names": names})
    except UserError as error:
        return one_line(error)
    return answer["error"] or answer


@contextmanager
def _on_disk(names: Sequence[str]) -> Iterator[tuple[dict[Path, str], list[str]]]:
    """Files of this machine in place of objects of a bucket, with the names; and what was not fetched."""
    if not any(map(is_remote, names)):
        yield {Path(name): name for name in names}, []
        return
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(FETCHERS) as pool:
        paths = [Path(place) / f"{row}{Path(name).suffix}" for row, name in enumerate(names)]
        reasons = list(pool.map(_fetch, names, paths))
        fetched = zip(paths, names, reasons, strict=True)
        yield (
            {path: name for path, name, reason in fetched if not reason},
            [reason for reason in reasons if reason],
        )


def _fetch(name: str, path: Path) -> str:
    """Why an object could not be fetched; empty where it was."""
    try:
        path.write_bytes(read(name))
    except OSError as error:
        return f"{name} cannot be read ({one_line(error)}); replace or remove it"
    return ""
