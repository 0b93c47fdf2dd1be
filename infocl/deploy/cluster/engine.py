"""`infocl embed --engine ray`: parts of the images go to many processes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import ray

from infocl.deploy.cluster.connection import connect, on_cluster
from infocl.deploy.cluster.parts import Done, Part, agree, finished, split
from infocl.deploy.cluster.storage import Folder, find_anywhere, is_remote
from infocl.deploy.cluster.worker import Work, write_part
from infocl.deploy.embed import LINE_EVERY, summary
from infocl.deploy.table import SUFFIX
from infocl.deploy.trust import open_trusted
from infocl.runtime.errors import UserError
from infocl.runtime.progress import StepProgress


def embed_on_ray(
    images: Sequence[str],
    output: str,
    *,
    encoder: Path,
    variant: str,
    strict: bool,
    signers: Path | None,
    actors: int | None,
    part: int,
) -> None:
    """Write the embeddings of images as a folder of Parquet files, on the cluster that RAY_ADDRESS names.

    Without RAY_ADDRESS the cluster is this machine. Where parts of the same work are there already, only the
    others are made.

    Args:
        images: as of `find_anywhere`; every machine must reach them under the same names.
        output: a folder that every machine reaches, or a bucket.
        encoder, variant, strict, signers: as of `embed_files`.
        actors: processes at once, each with one onnxruntime session of one thread; None: one for each CPU.
        part: images in a file.

    Raises:
        UserError: the encoder, an address or the output cannot be used, no image can be read, or Ray fails.
    """
    if output.endswith(SUFFIX):
        raise UserError(f"-o {output} must be a folder or a bucket with --engine ray; leave out {SUFFIX}")
    export = open_trusted(encoder, variant, signers)
    names = find_anywhere(images)
    odd = [name for name in names if name != name.encode(errors="replace").decode()]
    if odd:
        raise UserError(f"{os.fsencode(odd[0])!r} has a name that is not UTF-8; rename it")
    folder = Folder(output if is_remote(output) else str(Path(output).absolute()))
    agree(folder, names, part, export.variant(variant).sha256)
    parts = split(names, part)
    done = _finished(folder, parts)
    content = {path.name: path.read_bytes() for path in export.folder.iterdir()}
    waiting = [each for each in parts if each.number not in done]
    begun = len(names) - sum(len(each.names) for each in waiting)
    with StepProgress("Embedding", len(names), done=begun, line_every=LINE_EVERY) as progress:
        if waiting:
            connect()
            shared = [ray.put(content)]
            work = Work(export.variant(variant).sha256, variant, folder.address, strict)
            tasks = ((each.number, each.names, shared, work) for each in waiting)
            for _, answer in on_cluster(write_part, tasks, actors):
                for line in json.loads(answer["skipped"]):
                    progress.log(f"infocl: skipped: {line}")
                for _ in range(answer["images"]):
                    progress.advance()
    done |= _finished(folder, waiting)
    if missing := len(parts) - len(done):
        raise UserError(
            f"{missing} of {len(parts)} parts did not reach {output}; name a folder or bucket that all "
            "machines of the cluster reach under this name, and run again"
        )
    folder.clean()
    skipped = sum(len(each.skipped) for each in done.values())
    if skipped == len(names):
        raise UserError("none of the files can be read as an image")
    print(summary(len(names) - skipped, skipped, output, export.card.dim))


def _finished(folder: Folder, parts: Sequence[Part]) -> dict[int, Done]:
    return {part.number: found for part in parts if (found := finished(folder, part))}
