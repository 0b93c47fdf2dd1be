"""Commands under guard: their lines as they come, their reasons, and that nothing outlives who asked."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipelines.commands import CommandError, output_of, stream
from tests.workspace import ROOT


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def python(code):
    return [sys.executable, "-c", code]


def failure(code):
    with pytest.raises(CommandError) as caught:
        stream(python(code), lambda _line: None)
    return caught.value


def wait_for(condition):
    deadline = time.monotonic() + 900
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    """A process that ends loses its command line first, then its files, then its number."""
    try:
        return bool(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False


def test_lines_are_handed_on_while_the_command_still_runs(tmp_path):
    """It waits for a file that is made when its first line arrives: a pipe read at the end would hang."""
    code = (
        "import pathlib, time\nprint('first')\nwhile not pathlib.Path('seen').exists(): time.sleep(0.01)\n"
        "print('\\nlast \\xe4', flush=True)"
    )
    lines = []

    def log(line):
        lines.append(line)
        (tmp_path / "seen").touch()

    assert stream(python(code), log) == "first\nlast ä"
    assert lines == ["first", "last ä"]


def test_only_the_last_lines_are_kept_but_all_are_handed_on():
    lines = []
    message = stream(python("for i in range(1000): print(i)"), lines.append)
    assert len(lines) == 1000
    assert message.splitlines() == [str(number) for number in range(940, 1000)]


@pytest.mark.parametrize(
    ("code", "exit_code", "message", "ends_with", "retryable"),
    [
        ("print('a'); print('b'); exit(3)", 3, "b", 1, False),
        ("exit(4)", 4, "it ended with code 4 and said nothing", 1, False),
        ("print('infocl: x is bad'); print('more'); exit(2)", 2, "x is bad", 2, False),
        ("print('infocl: the GPU is full'); exit(75)", 75, "the GPU is full", 1, True),
        (
            "print('infocl: no folder Connection refused'); exit(2)",
            2,
            "no folder Connection refused",
            2,
            False,
        ),
        ("print('fatal: unable to access x'); exit(128)", 128, "fatal: unable to access x", 1, True),
        ("print('ERROR: Could not connect to the endpoint'); exit(255)", 255, None, 1, True),
        (
            "print('ERROR: one'); print('x'); print('ERROR: two'); exit(255)",
            255,
            "ERROR: one ERROR: two",
            1,
            False,
        ),
        ("import os; os.kill(os.getpid(), 9)", 137, "it ended with code 137 and said nothing", 1, False),
    ],
)
def test_a_failure_has_its_own_code_and_reason_and_says_whether_it_may_pass(
    code, exit_code, message, ends_with, retryable
):
    error = failure(code)
    assert (error.code, error.exit_code, error.retryable) == (exit_code, ends_with, retryable)
    assert message is None or str(error) == message


def test_the_code_and_the_reason_of_a_stage_are_found_through_dvc(tmp_path):
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    for code, retryable in ((2, False), (75, True)):
        stage = f"{shlex.quote(sys.executable)} -c \"print('infocl: it is so'); exit({code})\""
        (tmp_path / "dvc.yaml").write_text(f"stages:\n  work:\n    cmd: {json.dumps(stage)}\n")
        with pytest.raises(CommandError) as caught:
            stream(["dvc", "repro"], lambda _line: None)
        assert (str(caught.value), caught.value.code, caught.value.retryable) == ("it is so", code, retryable)


def test_a_short_command_gives_its_output_or_its_reason():
    assert output_of(python("print('x'); import sys; print('y', file=sys.stderr)")) == "x"
    with pytest.raises(CommandError, match="fatal: not a git repository"):
        output_of(["git", "status"])


def test_a_program_that_is_not_installed_is_one_line():
    with pytest.raises(CommandError, match=r"^no-such-program is not installed$"):
        stream(["no-such-program"], lambda _line: None)
    with pytest.raises(CommandError, match=r"^no-such-program is not installed$"):
        output_of(["no-such-program"])


FAMILY = """
import os, signal, subprocess, sys, time
from pathlib import Path
def note(number, _frame):
    Path("signals").open("a").write(signal.Signals(number).name + "\\n")
    if "--stubborn" not in sys.argv: sys.exit(130)
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, note)
deaf = "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(3600)"
child = subprocess.Popen([sys.executable, "-c", deaf])
Path("pids.part").write_text(f"{os.getpid()} {child.pid}")
Path("pids.part").rename("pids")
print("at work", flush=True)
while True: time.sleep(0.05)
"""
ASKER = "import sys; from pipelines.commands import stream; stream([sys.executable, *sys.argv[1:]], print)"


def test_when_the_asker_is_killed_the_command_is_interrupted_and_all_it_started_ends(tmp_path):
    (tmp_path / "family.py").write_text(FAMILY)
    asker = subprocess.Popen([sys.executable, "-c", ASKER, "family.py"], stdout=subprocess.DEVNULL)
    wait_for((tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(alive(pid) for pid in pids)
    os.kill(asker.pid, signal.SIGKILL)
    asker.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids))
    assert (tmp_path / "signals").read_text() == "SIGINT\n"


def test_who_does_not_heed_an_interrupt_is_terminated_and_then_killed(tmp_path, monkeypatch):
    """The same, with less patience, by the guard's own function; a busy machine may be slow to heed."""
    (tmp_path / "family.py").write_text(FAMILY)
    code = (
        "import signal; from pipelines import guard; import sys\n"
        "guard.GRACE = tuple((number, 3.0) for number, _ in guard.GRACE)\n"
        "sys.exit(guard.main([sys.executable, 'family.py', '--stubborn']))"
    )
    guard = subprocess.Popen(python(code), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    wait_for((tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    guard.stdin.close()
    assert guard.wait(timeout=900) == 137
    assert (tmp_path / "signals").read_text() == "SIGINT\nSIGTERM\n"
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_what_a_command_leaves_behind_is_killed_when_it_ends(tmp_path):
    code = (
        "import subprocess, sys; code = 'import time; time.sleep(3600)'\n"
        "child = subprocess.Popen([sys.executable, '-c', code],"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(child.pid)"
    )
    pid = int(stream(python(code), lambda _line: None))
    wait_for(lambda: not alive(pid))


def test_an_exception_while_a_line_is_handed_on_ends_the_command(tmp_path):
    (tmp_path / "family.py").write_text(FAMILY)

    def log(_line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream([sys.executable, "family.py"], log)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_descriptor_to_keep_stays_open_until_nothing_of_the_command_runs(tmp_path):
    (tmp_path / "family.py").write_text(FAMILY)
    asker = (
        "import fcntl, os, sys; from pipelines.commands import stream\n"
        "lock = os.open('lock', os.O_RDWR | os.O_CREAT); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "stream([sys.executable, 'family.py'], print, keep=lock)"
    )
    process = subprocess.Popen(python(asker), stdout=subprocess.DEVNULL)
    wait_for((tmp_path / "pids").exists)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    process.kill()
    process.wait()
    subprocess.run(["flock", "lock", "true"], check=True, timeout=900)
    assert not any(alive(pid) for pid in pids)
