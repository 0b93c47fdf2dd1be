"""`python -m benchmarks.tiers`: the same images resident, memory-mapped and in shards, beside a DataLoader.

Each row has a fresh process: its peak memory and its start are its own. The alternative is what one would
write by hand: a `Dataset` over the memory map, torch's `DataLoader` with workers.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from moto.server import ThreadedMotoServer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.measure import device, in_fresh_process, machine, memory_mib, synchronize
from benchmarks.publish import about, publish, table
from infocl.config import Params
from infocl.config.file import read_yaml
from infocl.encoder.views import Views
from infocl.experiments.overrides import validated
from infocl.prepared.reader import FORMAT, load_prepared
from infocl.prepared.sharding import write_shards
from infocl.pretrain.learner import Learner
from infocl.pretrain.loading.sampler import Order
from infocl.pretrain.loading.storage import open_images
from infocl.pretrain.optim import build_optimizer
from infocl.pretrain.parallel.process_group import ALONE
from infocl.runtime.files import sha256_array, write_array, write_json
from infocl.runtime.paths import PREPARED

PARAMS = Path(__file__).parent.parent / "params.yaml"
SIZE, BATCH = 32, 256  # px, images
WORKERS = 2  # of the DataLoader, one per core of the machine that was measured
BUCKET = "s3://infocl/images"
ROWS = {
    "resident": ("resident", "", "global"),
    "memory-mapped": ("mapped", "", "global"),
    "shards in a folder, all shuffled together": ("sharded", "shards", "global"),
    "shards in a folder, 16 shuffled together": ("sharded", "shards", "shards"),
    "shards in a bucket, 16 shuffled together": ("sharded", BUCKET, "shards"),
}
ALTERNATIVE = f"DataLoader over the memory map, {WORKERS} workers"
TITLES = ("storage", "start", "reading alone", "ratio", "training", "ratio", "peak memory", "no file's")
Batches = Callable[[int], Tensor]


class Steps(NamedTuple):
    """How many batches are read alone, and how many are trained on."""

    reading: int
    training: int


@dataclass(frozen=True)
class Row:
    """One storage.

    Attributes:
        start_seconds: from opening to the first batch.
        reading: images per second without training, as `training` is with it.
        memory_mib: peak resident memory of the process (mapped pages that the kernel may drop included).
        own_mib: the part of it that belongs to no file, at the end.
    """

    what: str
    start_seconds: float
    reading: float
    training: float
    memory_mib: float
    own_mib: float


def make_images(count: int) -> None:
    """A prepared set of random images, written in pieces."""
    folder, generator = PREPARED, np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    shape = (count, SIZE, SIZE, 3)
    images = np.lib.format.open_memmap(folder / "train/images.npy", mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, count, 10_000):
        part = images[start : start + 10_000]
        part[:] = generator.integers(0, 256, part.shape, dtype=np.uint8)
    images.flush()
    labels = np.arange(count, dtype=np.int64) % 10
    write_array(folder / "train/labels.npy", labels)
    hashes = {"images_sha256": sha256_array(images), "labels_sha256": sha256_array(labels)}
    about = {"images": count, "labelled": True, **hashes}
    meta = {"format": FORMAT, "name": "folder", "classes": [str(n) for n in range(10)], "image_size": SIZE}
    scale = {"mean": [0.5] * 3, "std": [0.29] * 3, "images_in": None, "splits": {"train": about}}
    write_json(folder / "meta.json", meta | scale)


def _params(storage: str, shards: str, shuffle: str) -> Params:
    chosen = f"train.storage={storage}", f"train.shards='{shards}'", f"train.shuffle={shuffle}"
    return validated(read_yaml(PARAMS), ["data.name=folder", f"train.batch_size={BATCH}", *chosen])


def ours(what: str, steps: Steps) -> Row:
    """A storage of the project."""
    params = _params(*ROWS[what])
    prepared = load_prepared(PREPARED)
    start = time.perf_counter()
    images = open_images(params, prepared, ALONE, device())
    row = _measured(what, lambda step: images.batch(step)[0], start, steps)
    images.close()
    return row


class _Mapped(Dataset[Tensor]):
    """One image at a time, as a `Dataset` is written by hand."""

    def __init__(self) -> None:
        self.images = np.load(PREPARED / "train/images.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self.images[index]))


def alternative(what: str, steps: Steps) -> Row:
    """The DataLoader, in the same order of images."""
    start = time.perf_counter()
    dataset = _Mapped()
    order = Order(len(dataset), BATCH, 0)
    count = min(order.batches_per_epoch, 1 + sum(steps))
    options = {"num_workers": WORKERS, "prefetch_factor": 4, "pin_memory": device().type == "cuda"}
    # By fork the map is shared; a spawned worker would be sent a copy of it.
    batches = [order.rows(step).tolist() for step in range(count)]
    iterator = iter(
        DataLoader(dataset, batch_sampler=batches, multiprocessing_context="fork", **options)  # type: ignore[arg-type]
    )
    return _measured(what, lambda _: next(iterator).to(device(), non_blocking=True), start, steps)


def _measured(what: str, batch: Batches, start: float, steps: Steps) -> Row:
    batch(0)
    synchronize()
    started = time.perf_counter() - start
    reading = _speed(batch, 1, steps.reading)
    training = _speed(_trainer(batch), steps.reading + 1, steps.training)
    return Row(what, started, reading, training, memory_mib("VmHWM"), memory_mib("RssAnon"))


def _speed(work: Callable[[int], object], first: int, steps: int) -> float:
    synchronize()
    start = time.perf_counter()
    for step in range(first, first + steps):
        work(step)
    synchronize()
    return steps * BATCH / (time.perf_counter() - start)


def _trainer(batch: Batches) -> Callable[[int], None]:
    """The shipped encoder, objective and regulariser on each batch."""
    params = _params("auto", "", "global")
    views = Views(params.views, SIZE)
    learner = Learner(params, [0.5] * 3, [0.29] * 3).to(device=device(), memory_format=torch.channels_last)
    optimizer = build_optimizer(params.train.optimizer, learner.parameters())
    noise = torch.Generator(device())

    def step(number: int) -> None:
        view1, view2 = views(batch(number), number)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device().type, torch.bfloat16):
            loss = learner(view1, view2, noise).value
        loss.backward()
        optimizer.step()

    return step


@contextmanager
def _bucket() -> Iterator[None]:
    """A bucket of a server on this machine, for this process and its children."""
    import boto3

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    os.environ |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    boto3.client("s3").create_bucket(Bucket="infocl")
    yield
    server.stop()


def _cells(row: Row, first: Row) -> list[str]:
    reading = f"{row.reading:,.0f} images/s", f"{row.reading / first.reading:.2f}"
    training = f"{row.training:,.0f} images/s", f"{row.training / first.training:.2f}"
    memory = f"{row.memory_mib:,.0f} MiB", f"{row.own_mib:,.0f} MiB"
    return [row.what, f"{row.start_seconds:.2f} s", *reading, *training, *memory]


def main() -> None:
    """Measure each storage in turn and write `results/tiers.md` and `results/tiers.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--note", default="", help="What else the machine did meanwhile.")
    parser.add_argument("--steps", type=int, nargs=2, default=[2000, 200], help="Of reading, of training.")
    asked = parser.parse_args()
    steps = Steps(*asked.steps)
    described = about("torch", "litdata", device=machine(), images=asked.images, batches=list(steps))
    with tempfile.TemporaryDirectory(prefix="infocl-") as folder, _bucket(), chdir(folder):
        make_images(asked.images)
        prepared = load_prepared(PREPARED)
        for url in ("shards", BUCKET):
            write_shards(prepared, url)
        rows = []
        for what in (*ROWS, ALTERNATIVE):
            rows.append(in_fresh_process(alternative if what == ALTERNATIVE else ours, what, steps))
            print(rows[-1], flush=True)
    lines = [asked.note, "", *table(TITLES, (_cells(row, rows[0]) for row in rows))]
    publish("tiers", "Storages on", lines, described, rows=[asdict(row) for row in rows])


if __name__ == "__main__":
    main()
