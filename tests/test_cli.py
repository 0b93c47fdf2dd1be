"""The commands for people: check and doctor (summary has a file of its own)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.workspace import ROOT, write_prepared

SHIPPED = (ROOT / "params.yaml").read_text()


@pytest.fixture
def infocl(tmp_path):
    """Run `infocl` in a folder with this params.yaml."""

    def run(command, params=SHIPPED):
        (tmp_path / "params.yaml").write_text(params)
        return subprocess.run(
            [sys.executable, "-m", "infocl", command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )

    return run


def test_doctor_says_what_the_machine_offers(infocl):
    done = infocl("doctor")
    assert done.returncode == 0, done.stderr
    topics = [line[:13].strip() for line in done.stdout.splitlines()]
    assert topics == [
        "Python",
        "Packages",
        "Device",
        "Precision",
        "Disk",
        "Raw data",
        "Raw data",
        "params.yaml",
    ]
    assert "data/raw (transfer.root; not there" in done.stdout


def test_doctor_says_where_prepared_images_would_lie(infocl, tmp_path):
    write_prepared(tmp_path / "data/prepared")
    done = infocl("doctor")
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("In training  0.3 MiB, resident on ")
    assert last.endswith("GiB free); train.storage auto, resident up to half of what is free")


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_a_typo_is_one_line(infocl, command):
    done = infocl(command, SHIPPED.replace("  weight: 1.0", "  wieght: 1.0"))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "infocl: params.yaml: reg.wieght is not a known parameter; did you mean reg.weight? "
        "(1 more to mend after that)"
    ]


def test_check_accepts_the_shipped_file(infocl):
    assert infocl("check").returncode == 0


@pytest.mark.parametrize("nonsense", ["[" * 3000, "!!int ''", "!!bool maybe", "0x" + "F" * 6000])
def test_yaml_nonsense_is_one_line(infocl, nonsense):
    done = infocl("check", SHIPPED.replace("seed: 0 ", f"seed: {nonsense} ", 1))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1


def into_a_closed_pipe(command, folder):
    """Run `infocl` with nobody reading what it prints."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, "-m", "infocl", *command.split()],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    "command",
    [
        "check",
        "doctor",
        "recipe",
        "recipe cifar10-simclr-lbe",
        "recipe cifar10-simclr-lbe --notes",
        "recipe --grid embedded",
        "table --paper cifar10 --file none.json",
        "table --paper cifar10 --file none.json --format markdown",
        "table --paper cifar10 --file none.json --format csv",
    ],
)
def test_a_closed_pipe_ends_a_command_like_other_tools(command, tmp_path):
    """By SIGPIPE, so that a shell reports 141, and without a traceback."""
    (tmp_path / "params.yaml").write_text(SHIPPED)
    (tmp_path / "none.json").write_text("[]")
    done = into_a_closed_pipe(command, tmp_path)
    assert done.returncode == -signal.SIGPIPE
    assert not done.stderr or command.endswith("csv"), "only a table's notes go to standard error"
    assert "Error" not in done.stderr
