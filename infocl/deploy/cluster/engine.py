"""The engine: Ray Data hands parts to processes, and again to others where a machine is lost."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import ray
import ray.data
from ray.exceptions import RayError

from infocl.deploy.cluster.parts import Part, agree, finished, split
from infocl.deploy.cluster.storage import Folder, find_anywhere, is_remote
from infocl.deploy.cluster.worker import PartWriter
from infocl.deploy.embed import LINE_EVERY, summary
from infocl.deploy.table import SUFFIX
from infocl.deploy.trust import open_trusted
from infocl.runtime.errors import UserError, one_line
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
        actors: processes, each with one onnxruntime session of one thread; None: one for each CPU.
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
    done = {number: found for number, found in enumerate(finished(folder, each) for each in parts) if found}
    content = {path.name: path.read_bytes() for path in export.folder.iterdir()}
    waiting = [each for each in parts if each.number not in done]
    begun = len(names) - sum(len(each.names) for each in waiting)
    with StepProgress("Embedding", len(names), done=begun, line_every=LINE_EVERY) as progress:
        while waiting:
            problem = _run(waiting, (content, variant, folder.address), strict, actors, progress)
            new = {each.number: found for each in waiting if (found := finished(folder, each))}
            if not new:
                raise UserError(f"no part reached {output} ({problem}); run the same command again")
            done |= new
            waiting = [each for each in waiting if each.number not in new]
    folder.clean()
    skipped = sum(len(each.skipped) for each in done.values())
    if skipped == len(names):
        raise UserError("none of the files can be read as an image")
    print(summary(len(names) - skipped, skipped, output, export.card.dim))


def _run(
    parts: Sequence[Part],
    work: tuple[dict[str, bytes], str, str],
    strict: bool,
    actors: int | None,
    progress: StepProgress,
) -> str:
    """Have parts written; why Ray gave up, if it did before all were.

    Raises:
        UserError: a part cannot be written.
    """
    _connect()
    count = actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
    rows = [{"number": part.number, "names": part.names} for part in parts]
    written = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        PartWriter,
        fn_constructor_args=work,
        fn_constructor_kwargs={"strict": strict},
        num_cpus=1,
        # Fewer where a machine is lost, instead of waiting for another.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=count, initial_size=count),
    )
    try:
        for row in written.iter_rows():
            if row["error"]:
                raise UserError(row["error"])
            for line in json.loads(row["skipped"]):
                progress.log(f"infocl: skipped: {line}")
            for _ in range(row["images"]):
                progress.advance()
    except RayError as error:
        return one_line(error)
    return "no machine wrote there"


def _connect() -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine; nothing is reported to Ray's makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what concerns users comes as exceptions
    if not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
