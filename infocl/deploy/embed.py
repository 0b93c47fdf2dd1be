"""`infocl embed`: image files to a table of embeddings, in memory that does not grow with their number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from infocl.data.decoding import Images, decode, decoding_threads
from infocl.deploy.exported import Export
from infocl.deploy.session import OnnxEncoder
from infocl.deploy.table import SUFFIX, as_batch, table_schema
from infocl.deploy.trust import open_trusted
from infocl.prepared.square import middle_square
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing
from infocl.runtime.progress import StepProgress
from infocl.runtime.text import counted

BATCH, BATCH_BYTES = 64, 32 << 20  # images of one size that the encoder takes at once, and their pixels
CHUNK, CHUNK_BYTES = 1024, 128 << 20  # images decoded before the encoder runs, and their pixels
LINE_EVERY = 1000  # images between two lines of progress when not on a terminal
Decoded = tuple[str, Images | UserError]


def embed_files(
    files: Sequence[Path], output: Path, *, encoder: Path, variant: str, strict: bool, signers: Path | None
) -> None:
    """Write the embeddings of image files as a Parquet table, one row for each in the given order.

    Columns: `path` (text), `embedding` (D float32). The metadata key `infocl` says which encoder made them.

    The arguments are the options of `infocl embed`; the table replaces `output` once all is done.

    Raises:
        UserError: the encoder cannot be used, or no file (with `strict`, one file) cannot be read.
    """
    if output.suffix != SUFFIX:
        raise UserError(f"-o {output} does not end in .parquet, the only format written; rename it")
    model = OnnxEncoder(open_trusted(encoder, variant, signers), variant)
    skipped = 0
    schema = table_schema(model)
    with (
        replacing(output) as temporary,
        temporary.open("wb") as stream,
        pq.ParquetWriter(stream, schema) as writer,
        StepProgress("Embedding", len(files), done=0, line_every=LINE_EVERY) as progress,
    ):
        for paths, embeddings, unread in embedded(model, files):
            for _, error in unread:
                if strict:
                    raise error
                progress.log(f"infocl: skipped: {error}")
            skipped += len(unread)
            progress.figures(f"{skipped} skipped")
            for _ in range(len(paths) + len(unread)):
                progress.advance()
            if paths:
                writer.write_batch(as_batch(paths, embeddings, schema))
        if skipped == len(files):
            raise UserError("none of the files can be read as an image; nothing was written")
    print(summary(len(files) - skipped, skipped, str(output), model.export.card.dim))


def summary(images: int, skipped: int, output: str, dim: int) -> str:
    """One line about a finished table."""
    rest = f"; {counted(skipped, 'file')} skipped." if skipped else "."
    return f"Embedded {counted(images, 'image')} into {output} ({dim} numbers each){rest}"


def embedded(
    model: OnnxEncoder, files: Sequence[Path]
) -> Iterator[tuple[list[str], npt.NDArray[np.float32], list[tuple[str, UserError]]]]:
    """Paths and embeddings (n, D) of some files after the other, in order, and those that cannot be read."""
    for chunk in _chunks(decoded(files, reader(model.export))):
        unread = [(path, image) for path, image in chunk if isinstance(image, UserError)]
        good = [(path, image) for path, image in chunk if not isinstance(image, UserError)]
        yield [path for path, _ in good], embed_squares(model, [image for _, image in good]), unread


def decoded(files: Sequence[Path], read: Callable[[Path], Images] | None = None) -> Iterator[Decoded]:
    """Paths, and pixels or what is wrong, in order: decoded in threads, a few images ahead.

    Args:
        files: of any kind.
        read: from a file to its pixels; None: the middle square.
    """
    threads = os.cpu_count() or 1
    waiting: deque[Future[Decoded]] = deque()
    with decoding_threads() as pool:
        try:
            for path in files:
                waiting.append(pool.submit(_attempt, read or _square, path))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _attempt(read: Callable[[Path], Images], path: Path) -> Decoded:
    name = str(path)
    try:
        name.encode()
        if path.exists() and not path.is_file():  # reading a pipe would wait for a writer, maybe for ever
            raise UserError(f"{path} is not a plain file but a pipe or the like; remove it")
        return name, read(path)
    except UnicodeEncodeError:
        return name, UserError(f"{os.fsencode(path)!r} has a name that is not UTF-8; rename it")
    except UserError as error:
        return name, error


def reader(export: Export) -> Callable[[Path], Images]:
    """How files are read for an encoder: what it uses of them, so that fewer sizes remain."""
    crops = any(step.get("step") == "crop" for step in export.raw.get("preprocessing", []))
    return _square if crops else _whole


def _square(path: Path) -> Images:
    return np.asarray(middle_square(decode(path)))


def _whole(path: Path) -> Images:
    return np.asarray(decode(path))


def _chunks(images: Iterator[Decoded]) -> Iterator[list[Decoded]]:
    chunk: list[Decoded] = []
    held = 0
    for path, image in images:
        chunk.append((path, image))
        held += 0 if isinstance(image, UserError) else image.nbytes
        if len(chunk) == CHUNK or held >= CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def embed_squares(model: OnnxEncoder, images: Sequence[Images]) -> npt.NDArray[np.float32]:
    """Embeddings (N, D) of images of several sizes, in their order; those of one size go together."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for row, image in enumerate(images):
        by_size.setdefault(image.shape, []).append(row)
    embeddings: npt.NDArray[np.float32] = np.empty((len(images), model.export.card.dim), np.float32)
    for rows in by_size.values():
        batch = max(1, min(BATCH, BATCH_BYTES // images[rows[0]].nbytes))
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            embeddings[some] = model.embed(np.stack([images[row] for row in some]))
    return embeddings
