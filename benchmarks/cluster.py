"""`python -m benchmarks.cluster [IMAGES]`: `infocl embed --engine ray` on two nodes of this machine.

Images per second by 1, 2 and 4 processes beside the engine of one process, and what is left of a run in which
one of the two nodes is killed. It needs the extra `ray` and an export.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from ray.cluster_utils import Cluster

from benchmarks.publish import about, publish, table

IMAGES, PART, SIDE = 4000, 100, 128


def write_images(folder: Path, count: int) -> None:
    """So many JPEG files of smooth noise, and one that is no image."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number:06}.jpg", quality=90)
    (folder / "000000b.jpg").write_bytes(b"no image")


def start(images: Path, output: Path, *options: str, address: str = "") -> subprocess.Popen[str]:
    """`infocl embed` in a process of its own."""
    command = [sys.executable, "-m", "infocl", "embed", str(images), "-o", str(output), *options]
    environment = os.environ | {"RAY_ADDRESS": address, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def finish(process: subprocess.Popen[str]) -> str:
    """The last line that it printed; RuntimeError where it failed."""
    output, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors)
    return output.splitlines()[-1]


def rows(place: Path) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Paths and embeddings of a table, in its order."""
    files = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    tables = [pq.read_table(file) for file in files]
    paths = [path for table in tables for path in table["path"].to_pylist()]
    numbers = [table["embedding"].combine_chunks().flatten().to_numpy() for table in tables]
    return paths, np.concatenate(numbers).reshape(len(paths), -1)


def steady(place: Path) -> float:
    """Images per second between the first and the last part, so without the start of processes."""
    times = sorted(file.stat().st_mtime for file in place.glob("part-*.parquet"))
    return PART * (len(times) - 1) / (times[-1] - times[0])


def kill_a_node(cluster: Cluster, node: Any, images: Path, output: Path, parts: int) -> str:
    """Kill a node once three parts are there; what the run printed."""
    options = ("--engine", "ray", "--actors", "2", "--part", str(PART))
    process = start(images, output, *options, address=cluster.address)
    while process.poll() is None and len(list(output.glob("part-*.parquet"))) < 3:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    before = len(list(output.glob("part-*.parquet")))
    return f"killed after {before} parts of {parts}: {finish(process).replace(str(output), 'a folder')}"


def same(place: Path, expected: Path) -> str:
    """How a table compares with another."""
    (paths, found), (wanted, embeddings) = rows(place), rows(expected)
    if paths != wanted:
        raise RuntimeError(f"{place} has other rows than {expected}: {len(paths)} and {len(wanted)}")
    error = np.linalg.norm(found - embeddings, axis=1) / np.linalg.norm(embeddings, axis=1)
    return f"{len(paths):,} rows, the same and in the same order; largest relative error {error.max():.1g}"


def main() -> None:
    """Measure, kill a node, and write results/cluster.md."""
    count = int(sys.argv[1]) if sys.argv[1:] else IMAGES
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    node = cluster.add_node(num_cpus=2)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        images, one = place / "images", place / "one.parquet"
        images.mkdir()
        write_images(images, count)
        began = time.perf_counter()
        finish(start(images, one))
        took = time.perf_counter() - began
        rows = [("one process", 1, f"{took:.1f} s", f"{count / took:.0f}", 1, "-")]
        for actors in (1, 2, 4):
            output = place / f"by{actors}"
            began = time.perf_counter()
            options = ("--engine", "ray", "--actors", str(actors), "--part", str(PART))
            finish(start(images, output, *options, address=cluster.address))
            whole = time.perf_counter() - began
            speeds = f"{count / whole:.0f}", f"{took / whole:.2g}", f"{steady(output):.0f} images/s"
            rows.append(("ray", actors, f"{whole:.1f} s", *speeds))
            print(*rows[-1], same(output, one), flush=True)
        killed = kill_a_node(cluster, node, images, place / "killed", -(-(count + 1) // PART))
        against = same(place / "killed", one)
    cluster.shutdown()
    lines = [
        *table(("engine", "processes", "whole command", "images/s", "ratio", "first to last part"), rows),
        "",
        "All processes share these cores and what else runs there, and each decodes with as many",
        "threads as there are cores, so this shows what Ray costs on one machine,",
        "not what more machines bring.",
        "",
        f"One of two nodes {killed}",
        f"Against one process: {against}.",
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    described = about("ray", **{"load at the end": load, "JPEG files": count, "px": SIDE, "in a part": PART})
    publish("cluster", "infocl embed --engine ray, on", lines, described)


if __name__ == "__main__":
    main()
