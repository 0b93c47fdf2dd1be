"""`python -m benchmarks.run`: measure everything on this machine and write benchmarks/results/."""

from __future__ import annotations

import datetime
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import cases
from benchmarks.loop import loop_rows
from benchmarks.measure import device
from benchmarks.parts import part_rows, part_table, shipped_and_large
from infocl.config.file import load_params
from infocl.pretrain.training import git_revision
from infocl.runtime.device import describe_device
from infocl.runtime.files import write_text

RESULTS = Path("benchmarks/results")


def main() -> None:
    """Run all comparisons and write them as Markdown and JSON."""
    params = load_params()
    rows = [*cases.lbe(), *cases.views(params), *cases.precision(params)]
    rows += [*cases.optimizer(params), *cases.probe(params)]
    loops = loop_rows(params)
    costs = part_rows(shipped_and_large(params))
    about = about_run("kornia")
    lines = [f"# Measured on {about['device']}", ""]
    lines += [", ".join(f"{name} {value}" for name, value in about.items() if name != "device"), ""]
    lines += ["| what | InfoCL | alternative | ratio |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.ours} | {row.alternative} | {row.ratio:.2f} |" for row in rows]
    lines += [
        "",
        "| pretraining loop | images/s | share in data and views | host, ms a step | device memory |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.images_per_second:.0f} | {row.views_share:.0%} | {row.host_ms:.1f} "
        f"| {row.memory} |"
        for row in loops
    ]
    lines += ["", *part_table(costs)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = "cpu" if device().type == "cpu" else "cuda-comparisons"
    write_text(RESULTS / f"{name}.md", "\n".join(lines) + "\n")
    tables = {"rows": rows, "loops": loops, "parts": costs}
    record = about | {name: [asdict(row) for row in table] for name, table in tables.items()}
    write_text(RESULTS / f"{name}.json", json.dumps(record, indent=2) + "\n")
    print("\n".join(lines))


def about_run(*packages: str) -> dict[str, str | None]:
    """When, on what and with which versions something is measured; `packages` beside Python and torch."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": f"{describe_device(device())}; {processor()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in packages},
        "revision": git_revision(),
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
    ]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    main()
