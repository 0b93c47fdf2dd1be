"""`python -m benchmarks.serving [REVISION]`: `infocl serve` under load, beside that of an older revision.

The older one is installed in an environment of its own (for which it needs a network), by its own lock file
where it has one. Both serve exports/encoder/; one server runs at a time, a new one for each load.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import memory_mib
from benchmarks.publish import about, publish, table
from infocl.results.card import CARD_FILE
from infocl.runtime.files import read_json
from infocl.runtime.paths import EXPORT, rerun

PREDECESSOR = "eaa5d89e3ee0"  # the last with KServe's server
INFER = "/v2/models/encoder/infer"
LOCK = "requirements-serve.lock"
SECONDS = 8.0  # of each load; requests at work then are waited for
PROBE_EVERY = 0.05
PATIENCE = 600.0
FIGURES = {
    "images_per_second": "images/s",
    "p50_ms": "median, ms",
    "p99_ms": "p99, ms",
    "health_p99_ms": "health p99, ms",
    "health_worst_ms": "health worst, ms",
    "peak_memory_mib": "peak memory, MiB",
}


@dataclass(frozen=True)
class Load:
    """Clients that ask without a pause, each on one connection."""

    images: int
    side: int
    clients: int

    def __str__(self) -> str:
        return f"{self.images} x {self.side} px, {self.clients} clients"


LOADS = (Load(1, 32, 16), Load(64, 32, 4), Load(1, 640, 8), Load(1, 1600, 4))


def request(load: Load) -> tuple[bytes, dict[str, str]]:
    """Body and headers, with the protocol's binary tensors both ways."""
    shape = (load.images, load.side, load.side, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": shape}
    tensor |= {"parameters": {"binary_data_size": pixels.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return head + pixels.tobytes(), headers


def ask(port: int, load: Load) -> tuple[list[float], int, float]:
    """Seconds of each answered request, how many were refused, and how long all took; in another process."""
    body, headers = request(load)
    times: list[float] = []
    refused: list[int] = []
    start = time.perf_counter()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        while time.perf_counter() - start < SECONDS:
            asked = time.perf_counter()
            connection.request("POST", INFER, body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                times.append(time.perf_counter() - asked)
            else:
                refused.append(answer.status)

    threads = [threading.Thread(target=client) for _ in range(load.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, len(refused), time.perf_counter() - start


def health(port: int) -> float:
    """Seconds until the server says that it lives."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/v2/health/live")
    if connection.getresponse().status != 200:
        raise RuntimeError("the server is not healthy")
    connection.close()
    return time.perf_counter() - start


@contextmanager
def served(infocl: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server that answers; its port and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [infocl, "serve", EXPORT.resolve(), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with suppress(OSError):
                health(port)
                break
            time.sleep(0.1)
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def measure(infocl: Path, load: Load) -> dict[str, Any]:
    """Figures of a server under one load."""
    with (
        served(infocl) as (port, process),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        pool.submit(os.getpid).result()
        asked = pool.submit(ask, port, load)
        probes = []
        while not asked.done():
            probes.append(health(port))
            time.sleep(PROBE_EVERY)
        times, refused, seconds = asked.result()
        peak = memory_mib("VmHWM", process.pid)
    return {
        "load": str(load),
        "requests": len(times),
        "refused": refused,
        "images_per_second": len(times) * load.images / seconds,
        "p50_ms": 1000 * float(np.quantile(times, 0.5)),
        "p99_ms": 1000 * float(np.quantile(times, 0.99)),
        "health_p99_ms": 1000 * float(np.quantile(probes, 0.99)),
        "health_worst_ms": 1000 * max(probes),
        "peak_memory_mib": peak,
    }


def installed(revision: str, folder: Path) -> Path:
    """The command of another revision, in an environment of its own."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", revision], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
    venv.create(folder / "venv", with_pip=True)
    pins = ["-c", source / LOCK] if (source / LOCK).exists() else []
    install = [folder / "venv/bin/pip", "install", "--quiet", *pins, f"{source}[serve]"]
    subprocess.run(install, check=True)
    return folder / "venv/bin/infocl"


def cells(row: dict[str, Any]) -> list[str]:
    """As a row of the table."""
    figures = [row[key] for key in FIGURES]
    numbers = [f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in figures]
    return [*(str(row[key]) for key in ("load", "server", "requests", "refused")), *numbers]


def main() -> None:
    """Measure both, load by load, and write results/serving.md and .json."""
    card = read_json(EXPORT / CARD_FILE, rerun("export", EXPORT))
    network = "{arch}, stem {stem}, width {width:g}".format(**card["encoder"])
    more = {
        "image_size": card["image_size"],
        "seconds": SECONDS,
        "load_average": round(os.getloadavg()[0], 1),
    }
    revision = sys.argv[1] if len(sys.argv) > 1 else PREDECESSOR
    described = about(network=network, **more, before=revision)
    with tempfile.TemporaryDirectory() as folder:
        infocl = Path(sys.executable).with_name("infocl")
        commands = {"before": installed(revision, Path(folder)), "now": infocl}
        rows = [
            {"server": name} | measure(command, load) for load in LOADS for name, command in commands.items()
        ]
    lines = [
        "Uint8 images as binary tensors from clients on the same machine, which share its cores; health is",
        f"asked every {1000 * PROBE_EVERY:.0f} ms on a new connection. `load_average` is that of other work",
        "at the start.",
        "",
        *table(("load", "server", "requests", "refused", *FIGURES.values()), map(cells, rows)),
    ]
    publish("serving", "`infocl serve` under load, on", lines, described, rows=rows)


if __name__ == "__main__":
    main()
