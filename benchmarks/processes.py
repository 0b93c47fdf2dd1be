"""`python -m benchmarks.processes`: the same run by one process and by two, as a picture and a table."""

from __future__ import annotations

import copy
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

from benchmarks.measure import device
from infocl.config.file import read_yaml
from infocl.runtime.files import read_json, replacing, write_text

RESULTS = Path("benchmarks/results")
SHRUNK = {  # eight steps per epoch, so that each step is a row of history
    "data.shapes.train_images": 1024,
    "data.shapes.test_images": 200,
    "encoder.width": 0.125,
    "train.epochs": 8,
    "train.precision": "fp32",
}
METHODS = [("simclr", "rc"), ("byol", "none"), ("barlow_twins", "mixed")]


def main() -> None:
    """Train each method twice; write processes.png and processes.md."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(2, len(METHODS), sharex=True, height_ratios=(2, 1), squeeze=False)
    lines = []
    for column, (objective, reg) in enumerate(METHODS):
        one, speed, name = _run(objective, reg, 1)
        two, speed_of_two, _ = _run(objective, reg, 2)
        apart = np.abs(two - one) / np.abs(one)
        loss, difference = panels[0, column], panels[1, column]
        steps = np.arange(1, len(one) + 1)
        loss.plot(steps, one, color="#4477dd", linewidth=4, alpha=0.4, label="1 process")
        loss.plot(steps, two, color="#222222", linewidth=1, label="2 processes")
        loss.set_title(f"{objective} + {reg}")
        loss.legend(frameon=False)
        difference.semilogy(steps, np.maximum(apart, 1e-9), color="#222222", linewidth=1)
        difference.set_xlabel("step")
        lines.append(
            f"| {objective} + {reg} | {apart[0]:.1e} | {apart.max():.1e} | {speed_of_two / speed:.2f} |"
        )
    panels[0, 0].set_ylabel("loss")
    panels[1, 0].set_ylabel("relative difference")
    RESULTS.mkdir(parents=True, exist_ok=True)
    with replacing(RESULTS / "processes.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    about = [
        f"# One process and two, on {name}",
        "",
        "float32, whole runs of 64 steps; in float64 the tests hold loss and gradient of a step to 1e-10.",
        "",
        "| run | difference of the loss at step 1 | largest difference | images/s, two over one |",
        "|---|---|---|---|",
    ]
    write_text(RESULTS / "processes.md", "\n".join([*about, *lines]) + "\n")
    print("\n".join([*about, *lines]))


def _run(objective: str, reg: str, processes: int) -> tuple[npt.NDArray[np.float64], float, str]:
    """Loss at each step, images per second, and the device's name, of a real run of the two stages."""
    params = copy.deepcopy(read_yaml(Path("params.yaml")))
    chosen = {"objective.name": objective, "reg.name": reg, "train.devices": processes}
    for key, value in (SHRUNK | chosen).items():
        *parents, last = key.split(".")
        node = params
        for parent in parents:
            node = node[parent]
        node[last] = value
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    if device().type == "cpu":
        environment["OMP_NUM_THREADS"] = "1"  # of each process, so that two have twice the cores of one
    with tempfile.TemporaryDirectory() as folder:
        with Path(folder, "params.yaml").open("w") as stream:
            YAML().dump(params, stream)
        for stage in ("prepare", "pretrain"):
            command = [sys.executable, "-m", f"stages.{stage}"]
            subprocess.run(command, cwd=folder, env=environment, check=True)
        with Path(folder, "models/pretrain/history.csv").open() as stream:
            losses = np.array([float(row["loss"]) for row in csv.DictReader(stream)])
        metrics = read_json(Path(folder, "metrics/pretrain.json"), "")
    return losses, metrics["images_per_second"], metrics["device"]


if __name__ == "__main__":
    main()
