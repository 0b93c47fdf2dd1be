"""One reproduction at a time: real processes, real flock, real DVC, and a second machine's name."""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from infocl.runtime.lock import HOLDER, LOCK, BusyError, workspace
from tests.project import environment
from tests.workspace import ROOT

HOLD = """
import sys, time
from infocl.runtime.lock import workspace
with workspace(sys.argv[1]) as lock:
    print("held", lock is not None, flush=True)
    sys.stdin.read()
"""
TRY = """
import sys
from infocl.runtime.errors import guarded
from infocl.runtime.lock import workspace
def work():
    with workspace("a second", float(sys.argv[1]), lambda holder: print("waiting for", holder, flush=True)):
        print("mine", flush=True)
sys.exit(guarded(work))
"""


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv(HOLDER, raising=False)
    (tmp_path / ".dvc").mkdir()


def start(code, *arguments, before=(), **environment_):
    return subprocess.Popen(
        [*before, sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment() | environment_,
    )


@contextmanager
def held(what, before=()):
    """Another process holds the workspace."""
    holder = start(HOLD, what, before=before)
    assert holder.stdout.readline() == "held True\n"
    try:
        yield holder
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def attempt(seconds="0", before=(), **environment_):
    process = start(TRY, seconds, before=before, **environment_)
    message, _ = process.communicate(timeout=900)
    return process.returncode, message


def test_a_second_process_is_refused_in_one_line_that_names_the_first():
    with held("flow run brave-owl") as holder:
        code, message = attempt()
        assert code == 2
        pattern = (
            rf"infocl: this workspace is in use by flow run brave-owl \(process {holder.pid} of "
            rf"{getpass.getuser()} on {re.escape(socket.gethostname())}, since \d{{4}}-\d\d-\d\dT[^)]+\); "
            r"wait until it ends, or cancel it\n"
        )
        assert re.fullmatch(pattern, message), message
    assert attempt() == (0, "mine\n")


def test_who_waits_is_told_once_for_whom_and_gets_it_when_the_holder_ends():
    with held("flow run brave-owl") as holder:
        waiting = start(TRY, "900")
        assert waiting.stdout.readline().startswith("waiting for flow run brave-owl (process ")
        holder.stdin.close()
        holder.wait()
        message, _ = waiting.communicate(timeout=900)
        assert message == "mine\n"
        assert waiting.returncode == 0


def test_who_waits_in_vain_is_refused():
    with held("flow run brave-owl"):
        code, message = attempt("1.5")
        assert code == 2
        assert message.count("waiting for") == 1
        assert "infocl: this workspace is in use by flow run brave-owl" in message


def test_the_workspace_of_a_holder_that_was_killed_is_free():
    with held("flow run brave-owl") as holder:
        holder.kill()
        holder.wait()
        assert attempt() == (0, "mine\n")


def test_children_of_the_holder_pass_and_others_do_not():
    with workspace("flow run") as lock:
        assert lock is not None
        assert attempt() == (0, "mine\n")
        with workspace("nested") as inner:
            assert inner is None
        assert attempt(**{HOLDER: "another"})[0] == 2
    assert HOLDER not in os.environ


def test_a_token_of_a_run_that_ended_does_not_open_the_workspace_of_the_next():
    with workspace("the first"):
        token = os.environ[HOLDER]
    with held("the second"):
        assert attempt(**{HOLDER: token})[0] == 2
    assert attempt(**{HOLDER: token}) == (0, "mine\n")


def test_a_token_of_a_run_that_ended_does_not_let_two_in_at_once(monkeypatch):
    """A process that outlived its run must take the lock like everybody else."""
    with workspace("the first"):
        token = os.environ[HOLDER]
    monkeypatch.setenv(HOLDER, token)
    with workspace("what outlived it") as lock:
        assert lock is not None
        assert attempt(**{HOLDER: ""})[0] == 2
    assert os.environ[HOLDER] == token


def test_outside_a_repository_there_is_nothing_to_hold(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with workspace("anything") as lock:
        assert lock is None
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"what": 3}'])
def test_a_damaged_lock_file_stops_nobody_and_still_refuses(content):
    LOCK.parent.mkdir()
    LOCK.write_text(content)
    assert attempt() == (0, "mine\n")
    with workspace("a holder"):
        LOCK.write_text(content)
        code, message = attempt(**{HOLDER: "another"})
        assert code == 2
        assert message.startswith("infocl: this workspace is in use by ")


def test_a_second_machine_that_shares_the_folder_is_refused_and_named_as_such():
    apart = ("unshare", "--user", "--map-root-user", "--uts", "--pid", "--fork", "sh", "-c")
    script = 'hostname farm-two; exec "$0" "$@"'
    with held("flow run far-owl", before=(*apart, script)):
        code, message = attempt()
        assert code == 2
        assert " on farm-two, since " in message
    with held("flow run near-owl"):
        code, message = attempt(before=(*apart, script))
        assert code == 2
        assert f" on {socket.gethostname()}, since " in message


def test_a_stage_started_by_hand_while_a_flow_holds_the_workspace_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with held("flow run brave-owl"):
        done = subprocess.run(
            [sys.executable, "-m", "stages.prepare"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("infocl: this workspace is in use by flow run brave-owl ")
    assert done.stderr.count("\n") == 1


def test_a_persons_dvc_is_at_work_between_its_stages_too(tmp_path):
    """Stage one has ended and with it the lock's holder; dvc runs something else of its own."""
    (tmp_path / ".dvc").rmdir()
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True, env=environment())
    one = "from infocl.runtime.lock import workspace as w\nwith w('stage one'): open('out', 'w').close()"
    (tmp_path / "one.py").write_text(one)
    stages = {
        "one": {"cmd": f"{shlex.quote(sys.executable)} one.py", "outs": ["out"]},
        "two": {"cmd": "touch between; while [ ! -e go ]; do sleep 0.05; done", "deps": ["out"]},
    }
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    repro = subprocess.Popen(["dvc", "repro"], env=environment(), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 900
    while not (tmp_path / "between").exists():
        assert repro.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    code, message = attempt()
    (tmp_path / "go").touch()
    assert repro.wait(timeout=900) == 0
    assert code == 2
    assert message.startswith("infocl: this workspace is in use by stage one (process ")
    assert attempt() == (0, "mine\n"), "dvc has ended"
    with pytest.raises(BusyError), held("another"), workspace("this"):
        pass
