"""The commands for people: check and doctor (summary has a file of its own)."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from infocl.cli.main import app
from tests.workspace import ROOT, write_prepared

SHIPPED = (ROOT / "params.yaml").read_text()


@pytest.fixture
def infocl(tmp_path, monkeypatch):
    """Run `infocl` in this process, in a folder with this params.yaml."""
    monkeypatch.chdir(tmp_path)

    def run(command, params=SHIPPED, *arguments):
        (tmp_path / "params.yaml").write_text(params)
        return CliRunner().invoke(app, [command, *arguments])

    return run


def test_doctor_says_what_the_machine_offers(infocl):
    done = infocl("doctor")
    assert done.exit_code == 0, done.stderr
    assert [line[:13].strip() for line in done.stdout.splitlines()] == [
        *("Python", "Packages", "Device", "Precision", "Disk", "Raw data", "Raw data", "params.yaml")
    ]
    assert "data/raw (transfer.root; not there" in done.stdout


def test_doctor_says_where_prepared_images_would_lie(infocl, tmp_path):
    write_prepared(tmp_path / "data/prepared", name="shapes")
    done = infocl("doctor")
    assert done.exit_code == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("In training  0.3 MiB, resident on ")
    assert last.endswith("GiB free); train.storage auto, resident up to half of what is free")


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_a_typo_is_one_line(infocl, command):
    done = infocl(command, SHIPPED.replace("  weight: 1.0", "  wieght: 1.0"))
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        "infocl: params.yaml: reg.wieght is not a known parameter; did you mean reg.weight? "
        "(1 more to fix after that)"
    ]


def test_check_accepts_the_shipped_file(tmp_path):
    """In a process of its own, as people start it."""
    (tmp_path / "params.yaml").write_text(SHIPPED)
    command = [sys.executable, "-m", "infocl", "check"]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("params.yaml is valid: ")


@pytest.mark.parametrize("nonsense", ["[" * 1000, "!!int ''", "!!bool maybe", "0x" + "F" * 6000])
def test_yaml_nonsense_is_one_line(infocl, nonsense):
    done = infocl("check", SHIPPED.replace("seed: 0 ", f"seed: {nonsense} ", 1))
    assert done.exit_code == 2, done.stderr
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
    assert done.exit_code == 2
    assert re.sub("^infocl: params.yaml:? ", "", done.stderr) == message + "\n"


@pytest.mark.parametrize("command", ["retrain", "rollback", "sweep"])
def test_outside_the_project_a_flow_is_refused_in_one_line(infocl, command):
    assert infocl(command).stderr == (
        f"infocl: infocl {command} works in the project's root folder (no pipelines/ here); go there\n"
    )


def test_json_that_is_nested_too_deeply_is_one_line(infocl, tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    done = infocl("table", SHIPPED, "--file", "deep.json")
    assert done.exit_code == 2
    assert done.stderr.startswith("infocl: this is not the output of `dvc exp show --json`")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["infocl check", "infocl table --file none.json"])
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


@pytest.mark.parametrize(
    "command",
    [
        "check",  # few lines, which leave at the end
        "table --paper cifar10 --file none.json",
        "table --paper cifar10 --file none.json --format csv",
    ],
)
def test_a_closed_pipe_ends_a_command_like_other_tools(command, tmp_path):
    """By SIGPIPE, so that a shell reports 141, and without a traceback."""
    (tmp_path / "params.yaml").write_text(SHIPPED)
    (tmp_path / "none.json").write_text("[]")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "infocl", *command.split()],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writer)
    assert done.returncode == -signal.SIGPIPE
    assert not done.stderr or command.endswith("csv"), "only a table's notes go to standard error"
    assert "Error" not in done.stderr
