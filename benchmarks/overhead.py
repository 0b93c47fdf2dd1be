"""`python -m benchmarks.overhead`: what DVC, and Prefect around it, add to the bare stages.

The same tiny params, each time in a fresh copy without results and without cache: the stages one after
the other, `dvc repro`, `infocl retrain` with a server and without. The smaller a run, the greater the share:
these stages take seconds, and what is added does not grow with them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.run import RESULTS, processor
from infocl.runtime.files import write_text
from tests.pipelines import faults
from tests.project import Project

STAGES = [
    "check",
    "prepare",
    "targets",
    "pretrain",
    "plain",
    "probe",
    "transfer",
    "compare",
    "audit",
    "export",
    "report",
]
NO_OPS = 5


def fresh(folder: Path, prefect: faults.Prefect) -> faults.Serviced:
    """A copy without results."""
    Project(folder, transfer__targets=["digits"], **faults.LOOSE)
    return faults.Serviced(folder, prefect)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare(copy: faults.Serviced) -> None:
    for stage in STAGES:
        copy.run("python", "-m", f"stages.{stage}")


def measure(folder: Path) -> dict[str, float]:
    """Seconds of each way; of runs that find nothing to do, the median of several."""
    server, none = faults.Prefect(folder / "server"), faults.Prefect(folder / "none")
    server.start()
    try:
        taken = {}
        copies = {
            name: fresh(folder / name, none if name == "alone" else server)
            for name in ("stages", "dvc", "served", "alone")
        }
        taken["stages"] = seconds(lambda: bare(copies["stages"]))
        print(taken, flush=True)
        taken["dvc"] = seconds(lambda: copies["dvc"].run("dvc", "repro"))
        print(taken, flush=True)
        taken["served"] = seconds(lambda: copies["served"].run("infocl", "retrain"))
        print(taken, flush=True)
        taken["alone"] = seconds(lambda: copies["alone"].run("infocl", "retrain"))
        print(taken, flush=True)
        for name, command in (("dvc", ("dvc", "repro")), ("served", ("infocl", "retrain"))):
            again = [seconds(lambda n=name, c=command: copies[n].run(*c)) for _ in range(NO_OPS)]
            taken[f"nothing, {name}"] = statistics.median(again)
        return taken
    finally:
        server.kill()


def table(taken: dict[str, float]) -> list[str]:
    message = {
        "stages": "`python -m stages.X`, one after the other",
        "dvc": "`dvc repro`",
        "served": "`infocl retrain`, a server running: commit, gate, version and service folder too",
        "alone": "`infocl retrain` with a temporary server: the same",
    }
    lines = ["| | seconds | over the bare stages |", "|---|---|---|"]
    for name, words in message.items():
        more = taken[name] - taken["stages"]
        lines.append(f"| {words} | {taken[name]:.1f} | {more:+.1f} s, {more / taken['stages']:+.0%} |")
    lines += ["", f"| nothing to do, median of {NO_OPS} | seconds |", "|---|---|"]
    lines += [f"| `dvc repro` | {taken['nothing, dvc']:.1f} |"]
    return [*lines, f"| `infocl retrain` | {taken['nothing, served']:.1f} |"]


def main() -> None:
    """Measure once and write `results/overhead.md` and `.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beside", action="store_true", help="say that other programs ran meanwhile")
    beside = parser.parse_args().beside
    loads = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        taken = measure(Path(folder))
    loads.append(os.getloadavg()[0])
    today = str(datetime.datetime.now(datetime.UTC).date())
    note = f"{today}, one run each; load average {loads[0]:.1f} before and {loads[1]:.1f} after"
    if beside:
        note += "; other programs used the same cores meanwhile, so only differences of tens of percent count"
    lines = [f"# What DVC and Prefect add, on {processor()}", "", f"{note}.", "", *table(taken)]
    write_text(RESULTS / "overhead.md", "\n".join(lines) + "\n")
    about = {"date": today, "processor": processor(), "cores": psutil.cpu_count(), "beside": beside}
    record = about | {"load": loads, "seconds": taken}
    write_text(RESULTS / "overhead.json", json.dumps(record, indent=2) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
