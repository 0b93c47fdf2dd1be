"""What kills leave behind, in a small clone: cleared where nobody owns it, left alone where somebody does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest

from pipelines.cleanup import clear
from pipelines.commands import CommandError
from pipelines.repository import bring_in, git
from pipelines.unfinished import MARK, MOST, killed_run, marked
from tests.pipelines import faults
from tests.project import environment


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (
        ("init", "--quiet", "--initial-branch=main"),
        ("config", "user.name", "A Tester"),
        ("config", "user.email", "tester@example.org"),
    ):
        git(*command)
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    git("add", "dvc.lock")
    git("commit", "--quiet", "-m", "start")
    return tmp_path


def cleared():
    message = []
    clear(message.append)
    return message


def test_a_clean_clone_is_left_alone_and_nothing_is_said(clone):
    assert cleared() == []


@pytest.mark.parametrize("content", ["", "schema: '2.0'\nstages:\n  check:\n    cmd: [", "\x00\x00"])
def test_a_lock_file_that_was_cut_off_comes_back_from_git(clone, content):
    (clone / "dvc.lock").write_text(content)
    assert cleared() == ["dvc.lock was cut off; the last committed one is back."]
    assert (clone / "dvc.lock").read_text() == "schema: '2.0'\nstages: {}\n"


def test_a_whole_lock_file_with_new_results_stays(clone):
    (clone / "dvc.lock").write_text("schema: '2.0'\nstages: {new: {}}\n")
    assert cleared() == []
    assert "new" in (clone / "dvc.lock").read_text()


def test_git_commits_again_after_a_git_that_was_killed(clone):
    (clone / ".git/index.lock").touch()
    (clone / ".git/refs/heads/main.lock").touch()
    (clone / "dvc.lock").write_text("schema: '2.0'\n")
    with pytest.raises(CommandError):
        git("commit", "--quiet", "--all", "-m", "next")
    assert len(cleared()) == 2
    git("commit", "--quiet", "--all", "-m", "next")


def test_the_lock_of_a_git_at_work_stays(clone):
    waiting = subprocess.Popen(
        ["git", "hash-object", "--stdin"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        (clone / ".git/index.lock").touch()
        assert cleared() == []
        assert (clone / ".git/index.lock").exists()
    finally:
        waiting.communicate(b"")


def test_what_a_killed_dvc_held_is_free_and_what_a_dvc_at_work_holds_stays(clone):
    program = clone / "dvc"
    program.write_text("import time\ntime.sleep(3600)\n")
    living = subprocess.Popen([sys.executable, str(program)])
    try:
        dead, alive = ({"pid": pid, "cmd": "dvc repro"} for pid in (os.getpid(), living.pid))
        path = clone / ".dvc/tmp/rwlock"
        path.write_text(
            json.dumps({"write": {"a": dead, "b": alive}, "read": {"c": [dead, alive], "d": [dead]}})
        )
        assert len(cleared()) == 1
        assert json.loads(path.read_text()) == {"write": {"b": alive}, "read": {"c": [alive]}}
    finally:
        living.kill()
        living.wait()


def test_a_lock_of_dvc_that_was_cut_off_goes(clone):
    (clone / ".dvc/tmp/rwlock").write_text('{"write": {"a"')
    assert len(cleared()) == 1
    assert not (clone / ".dvc/tmp/rwlock").exists()


def test_a_merge_that_a_person_has_not_finished_is_neither_ended_nor_undone(clone):
    git("switch", "--quiet", "-c", "other")
    (clone / "new").write_text("theirs")
    git("add", "new")
    git("commit", "--quiet", "-m", "theirs")
    git("switch", "--quiet", "main")
    (clone / "mine").write_text("mine")
    git("add", "mine")
    git("commit", "--quiet", "-m", "mine")
    git("merge", "--quiet", "--no-commit", "other")
    with pytest.raises(CommandError, match="a merge is unfinished here"):
        bring_in("other")
    assert (clone / ".git/MERGE_HEAD").exists()


def test_only_a_killed_run_is_taken_up_and_three_times(clone):
    with marked("ended"):
        assert killed_run() is None, "it is at work"
    assert killed_run() is None
    with pytest.raises(ZeroDivisionError), marked("failed"):
        raise ZeroDivisionError
    for number in range(1, MOST + 2):
        assert killed_run() == (f"run {number - 1}" if number > 1 else None)
        work("run", number, "os.abort()")
    assert killed_run() is None, "a person must see what kills it"
    with marked("the last") as before:
        assert before == f"run {MOST + 1}"
    assert killed_run() is None


def test_the_run_before_is_told_of_once_its_process_is_gone(clone):
    """It may still be about to report how it ended."""
    with marked("first") as before:
        assert before is None
    with marked("second") as before:
        assert before is None, "the first lives: it is this process"
    work("third")
    with marked("fourth") as before:
        assert before == "third"


def test_a_full_disk_makes_no_ended_run_a_killed_one(clone):
    """The limit on the size of files refuses what a full disk would."""
    with ExitStack() as disk, pytest.raises(ZeroDivisionError), marked("run"):
        disk.enter_context(faults.limited(10))
        raise ZeroDivisionError
    assert not MARK.exists()
    assert killed_run() is None


def work(name, number="", then="pass"):
    """A run in a process of its own."""
    code = (
        f"import os; from pipelines.unfinished import marked\nwith marked('{name} {number}'.strip()): {then}"
    )
    subprocess.run([sys.executable, "-c", code], env=with_this_code(), check=False, capture_output=True)


def with_this_code():
    return environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_mark_of_another_machine_is_its_own_business(clone):
    with marked("elsewhere"):
        mark = json.loads(MARK.read_text())
    MARK.write_text(json.dumps(mark | {"host": "another", "pid": 1, "started": 0.0}))
    assert killed_run() is None
    with marked("here") as before:
        assert before == "elsewhere", "it did not end, and the workspace is held by another now"
    shutil.rmtree(clone / "exports")
