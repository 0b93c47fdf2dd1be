"""The commands for people: check and doctor (summary has a file of its own)."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from tests.workspace import ROOT, write_prepared

SHIPPED = (ROOT / "params.yaml").read_text()


@pytest.fixture
def infocl(tmp_path):
    """Run `infocl` in a folder with this params.yaml."""

    def run(command, params=SHIPPED, *arguments):
        (tmp_path / "params.yaml").write_text(params)
        return subprocess.run(
            [sys.executable, "-m", "infocl", command, *arguments],
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
    write_prepared(tmp_path / "data/prepared", name="shapes")
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
        "(1 more to fix after that)"
    ]


def test_check_accepts_the_shipped_file(infocl):
    assert infocl("check").returncode == 0


@pytest.mark.parametrize("nonsense", ["[" * 3000, "!!int ''", "!!bool maybe", "0x" + "F" * 6000])
def test_yaml_nonsense_is_one_line(infocl, nonsense):
    done = infocl("check", SHIPPED.replace("seed: 0 ", f"seed: {nonsense} ", 1))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1


BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level}\n  <<: [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            BOMB + SHIPPED,
            "line 3, column 8: not valid YAML (*a0 is an alias; write the value); correct that line",
        ),
        (
            SHIPPED.replace("device: auto", "device: cuda:99999999999"),
            "train.device is 'cuda:99999999999', but must be auto, cpu, cuda or cuda:N with N below 100",
        ),
        (
            SHIPPED.replace("root: data/raw ", r'root: "data\0raw" ', 1),
            "data.root holds the character NUL; remove it",
        ),
    ],
)
def test_what_python_or_torch_would_choke_on_is_one_line(infocl, params, message):
    done = infocl("check", params)
    assert done.returncode == 2
    assert re.sub("^infocl: params.yaml:? ", "", done.stderr) == message + "\n"


def test_json_that_is_nested_too_deeply_is_one_line(infocl, tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    done = infocl("table", SHIPPED, "--file", "deep.json")
    assert done.returncode == 2
    assert done.stderr.startswith("infocl: this is not the output of `dvc exp show --json`")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["infocl check", "infocl table --file none.json", "stages.check"])
def test_a_closed_standard_output_is_no_error(tmp_path, command):
    (tmp_path / "params.yaml").write_text(SHIPPED)
    (tmp_path / "none.json").write_text("[]")
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m {command} >&-",
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        shell=True,
    )
    assert done.returncode in (0, 2)
    assert not [line for line in done.stderr.splitlines() if not line.startswith("infocl: there is no ")]


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
