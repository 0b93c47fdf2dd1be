"""Writing prepared images as shards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from infocl.prepared.places import BUCKET, Bucket
from infocl.prepared.reader import Prepared
from infocl.prepared.shards import FORMAT, INDEX, MANIFEST, Manifest, Shard, shard_count
from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing_folder, sha256_file, write_json
from infocl.runtime.progress import StepProgress

LINES = 10  # of progress, where there is no terminal
Deliver = Callable[[Path], None]


def write_shards(prepared: Prepared, url: str) -> Manifest:
    """Write the images that pretraining sees as shards, to a folder or to `s3://bucket/prefix`.

    The manifest comes last, so that shards which are not complete are none.

    Raises:
        UserError: the prepared images are missing, the folder holds something else, or the bucket cannot
            be reached.
    """
    images = prepared.pretrain.images
    count = shard_count(len(images), prepared.image_size)
    shards = []
    with _target(url) as (folder, deliver):
        for file in shard_files(folder, (images[number::count].tobytes() for number in range(count)), count):
            shards.append(Shard(file.name, file.stat().st_size, sha256_file(file)))
            deliver(file)
        deliver(folder / INDEX)
        manifest = Manifest(len(images), prepared.image_size, prepared.pretrain.images_sha256, tuple(shards))
        write_json(folder / MANIFEST, {"format": FORMAT, **asdict(manifest)})
        deliver(folder / MANIFEST)
    return manifest


def shard_files(folder: Path, contents: Iterable[bytes], count: int) -> Iterator[Path]:
    """The files of so many shards, each once it is complete; the index is written after the last.

    Args:
        folder: to write to.
        contents: of each shard, the pixels of its images.
        count: of shards.
    """
    from litdata.streaming.serializers import BytesSerializer
    from litdata.streaming.writer import BinaryWriter

    # One item of plain bytes per file: no other of the engine's encodings, some of which pickle.
    writer = BinaryWriter(str(folder), chunk_size=1, serializers={"bytes": BytesSerializer()})
    with StepProgress("writing shards", count, done=0, line_every=max(1, count // LINES)) as progress:
        for shard, content in enumerate(contents):
            writer[shard] = content
            if shard:
                yield folder / f"chunk-0-{shard - 1}.bin"
            progress.advance()
            progress.figures(f"{shard + 1:,} of {count:,} shards")
    writer.done()
    yield folder / f"chunk-0-{count - 1}.bin"
    writer.merge()


@contextmanager
def _target(url: str) -> Iterator[tuple[Path, Deliver]]:
    """A folder to write to, and what to do with each file that is complete."""
    if not url.startswith(BUCKET):
        there = Path(url)
        if there.exists() and not (there / MANIFEST).is_file() and (there.is_file() or any(there.iterdir())):
            raise UserError(f"{there} holds something other than shards; name a new or an empty folder")
        with replacing_folder(there) as folder:
            yield folder, lambda file: None
        return
    bucket = Bucket(url)
    bucket.remove(MANIFEST)
    with tempfile.TemporaryDirectory(prefix="infocl-") as temporary:

        def deliver(file: Path) -> None:
            bucket.put(file, file.name)
            file.unlink()

        yield Path(temporary), deliver
