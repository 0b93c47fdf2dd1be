"""`python -m benchmarks.processes`: the same run by one process and by two, as a picture and a table."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from benchmarks.measure import device, machine
from benchmarks.publish import RESULTS, about, publish, table
from infocl.config.file import read_yaml
from infocl.experiments.overrides import overridden
from infocl.runtime.files import read_json, replacing

SHRUNK = [  # eight steps per epoch, so that each step is a row of history
    *("data.shapes.train_images=1024", "data.shapes.test_images=200", "encoder.width=0.125"),
    *("train.epochs=8", "train.precision=fp32"),
]
METHODS = [("simclr", "rc"), ("byol", "none"), ("barlow_twins", "mixed")]


def main() -> None:
    """Train each method twice; write processes.png and processes.md."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(2, len(METHODS), sharex=True, height_ratios=(2, 1), squeeze=False)
    rows = []
    for column, (objective, reg) in enumerate(METHODS):
        (one, speed), (two, speed_of_two) = (_run(objective, reg, processes) for processes in (1, 2))
        apart = np.abs(two - one) / np.abs(one)
        loss, difference = panels[0, column], panels[1, column]
        steps = np.arange(1, len(one) + 1)
        loss.plot(steps, one, color="#4477dd", linewidth=4, alpha=0.4, label="1 process")
        loss.plot(steps, two, color="#222222", linewidth=1, label="2 processes")
        loss.set_title(f"{objective} + {reg}")
        loss.legend(frameon=False)
        difference.semilogy(steps, np.maximum(apart, 1e-9), color="#222222", linewidth=1)
        difference.set_xlabel("step")
        figures = f"{apart[0]:.1e}", f"{apart.max():.1e}", f"{speed_of_two / speed:.2f}"
        rows.append((f"{objective} + {reg}", *figures))
    panels[0, 0].set_ylabel("loss")
    panels[1, 0].set_ylabel("relative difference")
    with replacing(RESULTS / "processes.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    lines = [
        "float32, whole runs of 64 steps; in float64 the tests hold loss and gradient of a step to 1e-10.",
        "",
        *table(
            ("run", "difference of the loss at step 1", "largest difference", "images/s, two over one"), rows
        ),
    ]
    publish("processes", "One process and two, on", lines, about("torch", device=machine()))


def _run(objective: str, reg: str, processes: int) -> tuple[npt.NDArray[np.float64], float]:
    """Loss at each step, and images per second, of a real run of the two stages."""
    chosen = f"objective.name={objective}", f"reg.name={reg}", f"train.devices={processes}"
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    if device().type == "cpu":
        environment["OMP_NUM_THREADS"] = "1"  # of each process, so that two have twice the cores of one
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, "params.yaml").open("w") as stream:
            YAML().dump(overridden(read_yaml(Path("params.yaml")), [*SHRUNK, *chosen]), stream)
        for stage in ("prepare", "pretrain"):
            command = [sys.executable, "-m", f"stages.{stage}"]
            subprocess.run(command, cwd=folder, env=environment, check=True)
        with Path(folder, "models/pretrain/history.csv").open() as stream:
            losses = np.array([float(row["loss"]) for row in csv.DictReader(stream)])
        metrics = read_json(Path(folder, "metrics/pretrain.json"), "")
    return losses, metrics["images_per_second"]


if __name__ == "__main__":
    main()
