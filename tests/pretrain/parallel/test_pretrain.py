"""Pretraining by two real processes: what one gives, restarts, and ends that leave nothing running."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file

from infocl.prepared.reader import load_prepared
from infocl.prepared.sharding import write_shards
from infocl.runtime.files import read_json
from tests.workspace import ROOT, raw_params, write_prepared

STAGE = ("-m", "stages.pretrain")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
FP32 = {"train__precision": "fp32"}
SHORT = FP32 | {"reg__name": "rc"}
LONG = FP32 | {"train__epochs": 12}


@pytest.fixture
def workspace(tmp_path):
    return prepared(tmp_path)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """Weights, history and metrics that two processes make of the tests' params."""
    return trained(prepared(tmp_path_factory.mktemp("two")), train__devices=2, **SHORT)


@pytest.fixture(scope="module")
def long_by_two(tmp_path_factory):
    """The weights that two processes make in a run long enough to be killed."""
    return trained(prepared(tmp_path_factory.mktemp("long")), train__devices=2, **LONG)[0]


def prepared(folder):
    write_prepared(folder / "data/prepared")
    return folder


def set_params(folder, **changes):
    with (folder / "params.yaml").open("w") as stream:
        YAML().dump(raw_params(**changes), stream)


def run(folder, command=(sys.executable, *STAGE)):
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)


def trained(folder, **changes):
    """Weights, history and metrics of a run."""
    set_params(folder, **changes)
    done = run(folder)
    assert done.returncode == 0, done.stderr
    return results(folder)


def results(folder):
    with (folder / "models/pretrain/history.csv").open() as stream:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    weights = load_file(folder / "models/pretrain/encoder.safetensors")
    return weights, rows, read_json(folder / "metrics/details/pretrain.json", "")


def start(folder, **changes):
    """A run of two processes that has come to its first checkpoint, and the pids of the two."""
    set_params(folder, train__devices=2, **changes)
    launcher = subprocess.Popen(
        [sys.executable, *STAGE], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    until(lambda: list(folder.glob("models/checkpoints/*/checkpoint.safetensors")))
    return launcher, sorted(child.pid for child in psutil.Process(launcher.pid).children())


def until(condition, seconds=900):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_two_processes_train_as_one_does(workspace, by_two):
    weights, rows, metrics = trained(workspace, **SHORT)
    two_weights, two_rows, two_metrics = by_two
    assert (metrics["processes"], two_metrics["processes"]) == (1, 2)
    assert two_metrics["steps"] == metrics["steps"]
    for one, two in zip(rows, two_rows, strict=True):
        assert {**two, "images_per_second": 0} == pytest.approx({**one, "images_per_second": 0}, rel=1e-2)
    for name, value in weights.items():
        assert (two_weights[name] - value).abs().max() < 0.02, name


def test_launched_by_torchrun_from_shards_it_is_the_same_run(workspace, by_two):
    """By the variables that torchrun sets, test_gate.py starts its processes."""
    write_shards(load_prepared(workspace / "data/prepared"), str(workspace / "shards"))
    set_params(workspace, train__storage="sharded", train__shards="shards", **SHORT)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = run(workspace, (*torchrun, *STAGE))
    assert done.returncode == 0, done.stderr
    by_torchrun, _, again = results(workspace)
    assert again["processes"] == 2
    for name, value in by_two[0].items():
        assert value.equal(by_torchrun[name]), name


def test_killed_it_leaves_no_process_and_continues_on_any_number(workspace, long_by_two):
    launcher, children = start(workspace, **LONG)
    assert len(children) == 2
    launcher.kill()
    until(lambda: all(gone(pid) for pid in children))
    launcher.wait()
    alone = workspace.parent / "alone"
    shutil.copytree(workspace, alone)
    set_params(alone, train__devices=1, **LONG)
    for folder in (workspace, alone):
        done = run(folder)
        assert done.returncode == 0, done.stderr
        assert "Continuing from step" in done.stderr
    by_two, by_one = results(workspace)[0], results(alone)[0]
    for name, value in long_by_two.items():
        assert value.equal(by_two[name]), name
        scale = value.abs().max().clamp(min=1)  # running variances are larger than weights
        assert (value - by_one[name]).abs().max() < 0.1 * scale, name


def test_when_one_process_dies_all_end_with_one_line(workspace):
    launcher, children = start(workspace, train__epochs=200)
    os.kill(children[0], signal.SIGKILL)
    _, stderr = launcher.communicate(timeout=900)
    assert launcher.returncode == 1
    (line,) = [line for line in stderr.splitlines() if line.startswith("infocl:")]
    assert "process 0 was ended by SIGKILL" in line
    assert "Traceback" not in stderr
    assert all(gone(pid) for pid in children)


def test_told_to_end_it_ends_its_processes(workspace):
    launcher, children = start(workspace, train__epochs=200)
    launcher.send_signal(signal.SIGTERM)
    _, stderr = launcher.communicate(timeout=900)
    assert launcher.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in stderr
    assert all(gone(pid) for pid in children)


def test_a_loss_that_is_no_longer_finite_is_said_once(workspace):
    set_params(
        workspace,
        train__devices=2,
        train__optimizer__name="sgd",
        train__optimizer__lr=100.0,
        train__epochs=30,
        reg__name="rc",
    )
    done = run(workspace)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("infocl:")]
    assert len(lines) == 1
    assert "stopped being finite" in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__devices": 2, "train__device": "cuda"}, "2 of them are needed, but this machine shows"),
        (
            {"train__devices": 2, "data__image_size": 16},
            "prepared with data.image_size 32, but params.yaml asks for 16",
        ),
    ],
)
def test_wrong_input_is_one_line_before_any_process_starts(workspace, changes, message):
    set_params(workspace, **changes)
    done = run(workspace)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_more_processes_than_fit_the_batch_are_refused_once(workspace):
    set_params(workspace, train__batch_size=33)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = run(workspace, (*torchrun, *STAGE))
    assert done.returncode != 0
    assert done.stderr.count("is no multiple of the 2 processes") == 1
