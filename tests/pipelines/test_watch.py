"""The watch: what it asks for, how often, and what it remembers, on real files and real git."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from infocl.runtime.lock import BusyError, workspace
from pipelines import watch as module
from pipelines.repository import bring_in
from pipelines.watch import SEEN, Watch, folder_state
from tests.workspace import ROOT


def git(*arguments, folder="."):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A clone with raw data, the current folder; its own remote beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INFOCL_DATA", raising=False)
    git("init", "--quiet", "--initial-branch", "main", "here")
    monkeypatch.chdir(tmp_path / "here")
    for key, value in (("user.name", "A Tester"), ("user.email", "tester@example.org")):
        git("config", key, value)
    shutil.copy2(ROOT / "params.yaml", "params.yaml")
    folder = tmp_path / "here"
    (folder / ".gitignore").write_text("/data/\n/exports/\n")
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/a.png").write_bytes(b"a")
    git("add", "-A")
    git("commit", "--quiet", "-m", "start")
    git("clone", "--quiet", "--bare", ".", "../bare")
    git("remote", "add", "origin", str(tmp_path / "bare"))
    return folder


class Asked:
    """A watch and what it asked for; `settled` looks until nothing new comes."""

    def __init__(self, track=None, idle=False):
        self.asked: list[tuple[str, str]] = []
        self.fails = False
        self.message: list[str] = []
        self.idle = idle
        self.watch = Watch(track, lambda: self.idle, self.ask, self.message.append)

    def ask(self, what, key):
        if self.fails:
            raise ConnectionError("the server is down")
        self.asked.append((what, key))

    def settled(self):
        """What three looks ask for: one that sees a change, one that finds it settled, one more."""
        before = len(self.asked)
        for _ in range(3):
            self.watch.look()
        return [what for what, _ in self.asked[before:]]


@pytest.fixture
def watch(here):
    watching = Asked()
    assert watching.settled() == ["first look"]
    return watching


def set_weight(here, value):
    text = (here / "params.yaml").read_text().replace("  weight: 1.0 ", "  weight: 0.1 ")
    (here / "params.yaml").write_text(
        text if value == 0.1 else text.replace("  weight: 0.1 ", "  weight: 1.0 ")
    )


def test_nothing_is_asked_for_while_nothing_changes(watch):
    assert watch.settled() == []


def test_a_folder_that_is_being_written_asks_for_nothing_and_then_once_however_many_files(here, watch):
    for number in range(6):
        (here / f"data/raw/{number}.png").write_bytes(b"x" * number)
        watch.watch.look()
    assert len(watch.asked) == 1, "only the first look"
    assert watch.settled() == ["data in data/raw changed"]


def test_a_file_that_grows_is_not_settled(here, watch):
    for size in range(1, 5):
        (here / "data/raw/large.png").write_bytes(b"x" * size)
        watch.watch.look()
    assert len(watch.asked) == 1
    assert watch.settled() == ["data in data/raw changed"]


@pytest.mark.parametrize("change", ["removed", "renamed", "rewritten", "in a subfolder"])
def test_every_kind_of_change_to_data_is_seen(here, watch, change):
    path = here / "data/raw/a.png"
    if change == "removed":
        path.unlink()
    elif change == "renamed":
        path.rename(here / "data/raw/b.png")
    elif change == "rewritten":
        about = path.stat()
        path.write_bytes(b"b")
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1_000))
    else:
        (here / "data/raw/deep/er").mkdir(parents=True)
        (here / "data/raw/deep/er/c.png").write_bytes(b"c")
    assert watch.settled() == ["data in data/raw changed"]


def test_going_back_and_forth_asks_each_time_with_a_key_of_its_own(here, watch):
    for value in (0.1, 1.0, 0.1):
        set_weight(here, value)
        assert watch.settled() == ["params.yaml changed"]
    keys = [key for _, key in watch.asked]
    assert len(set(keys)) == len(keys)


def test_a_change_that_is_taken_back_before_it_settles_asks_for_nothing(here, watch):
    text, about = (here / "params.yaml").read_text(), (here / "params.yaml").stat()
    set_weight(here, 0.1)
    watch.watch.look()
    (here / "params.yaml").write_text(text)
    os.utime(here / "params.yaml", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert watch.settled() == []


def test_a_broken_or_missing_params_file_is_a_change_that_stops_no_watch(here, watch):
    text = (here / "params.yaml").read_text()
    (here / "params.yaml").write_text("seed: [")
    assert watch.settled() == ["params.yaml changed"]
    (here / "data/raw/new.png").write_bytes(b"n")
    assert watch.settled() == ["data in data/raw changed"], "the folder that it named before is still watched"
    (here / "params.yaml").unlink()
    assert watch.settled() == ["params.yaml changed"]
    (here / "params.yaml").write_text(text)
    assert watch.settled() == ["params.yaml changed"]


def test_two_settled_changes_are_one_request_that_names_both(here, watch):
    set_weight(here, 0.1)
    (here / "data/raw/new.png").write_bytes(b"n")
    assert watch.settled() == ["data in data/raw and params.yaml changed"]


def test_what_changed_while_nobody_watched_is_found_at_the_start_and_nothing_else(here, watch):
    assert Asked(idle=True).settled() == []
    set_weight(here, 0.1)
    assert Asked().settled() == ["params.yaml changed"]
    assert Asked().settled() == ["first look"], "what was asked for may have been lost"
    SEEN.write_text("{")
    assert Asked().settled() == ["first look"], "a damaged memory is no memory"


def test_a_request_that_failed_is_made_again_with_the_same_key(here, watch):
    set_weight(here, 0.1)
    watch.fails = True
    with pytest.raises(ConnectionError):
        watch.settled()
    other = Asked()
    other.fails = True
    with pytest.raises(ConnectionError):
        other.settled()
    watch.fails = other.fails = False
    other.idle = True
    assert watch.settled() == ["params.yaml changed"]
    assert other.settled() == [], "the other one had remembered it on disk"


def test_a_change_that_no_stage_reads_asks_for_nothing(here, watch):
    watch.idle = True
    (here / "params.yaml").write_text((here / "params.yaml").read_text() + "# a remark\n")
    assert watch.settled() == []
    assert watch.message[-1] == "Watch: params.yaml changed, and no stage has anything to do."
    watch.idle = False
    assert watch.settled() == []


def test_nothing_is_judged_while_somebody_works_here(here, watch):
    (here / ".dvc").mkdir()
    with workspace("a person's run"):
        set_weight(here, 0.1)
        assert watch.settled() == []
    assert watch.settled() == ["params.yaml changed"]


def test_while_another_dvc_is_at_work_nothing_is_judged(here, watch):
    def busy():
        raise BusyError("in use by another dvc")

    watch.watch.idle, idle = busy, watch.watch.idle
    set_weight(here, 0.1)
    assert watch.settled() == []
    watch.watch.idle = idle
    assert watch.settled() == ["params.yaml changed"]


def test_two_watches_of_one_workspace_ask_with_the_same_key(here, watch):
    other = Asked(idle=True)
    assert other.settled() == []
    other.idle = False
    set_weight(here, 0.1)
    for one in (watch, other):
        one.watch.look()
    memory = SEEN.read_bytes()
    watch.watch.look()
    SEEN.write_bytes(memory)  # the other one looked at the same moment
    other.watch.look()
    assert watch.asked[-1] == other.asked[-1]
    assert watch.asked[-1][0] == "params.yaml changed"


def test_commits_of_others_ask_and_those_of_our_own_runs_do_not(here, watch):
    (here / "dvc.lock").write_text("results\n")
    git("add", "dvc.lock")
    git("commit", "--quiet", "-m", "Retrain: pretrain: reg.weight 1.0 -> 0.1")
    assert watch.settled() == []
    git("commit", "--quiet", "--allow-empty", "-m", "another objective")
    assert watch.settled() == ["the checked-out branch changed"]


def test_a_new_commit_on_a_tracked_branch_asks_and_merging_it_does_not_ask_again(here, tmp_path):
    watch = Asked("origin/main")
    assert watch.settled() == ["first look"]
    git("clone", "--quiet", "../bare", "../other")
    for key, value in (("user.name", "Another"), ("user.email", "another@example.org")):
        git("config", key, value, folder="../other")
    git("commit", "--quiet", "--allow-empty", "-m", "theirs", folder="../other")
    git("push", "--quiet", folder="../other")
    assert watch.settled() == ["the branch origin/main changed"]
    assert watch.settled() == []
    (here / "dvc.lock").write_text("results\n")
    git("add", "-A")
    git("commit", "--quiet", "-m", "Retrain: something")
    assert watch.settled() == []
    assert bring_in("origin/main")
    assert watch.settled() == [], "merged by a run"
    git("push", "--quiet", "origin", "HEAD")
    assert watch.settled() == [], "published by a run"
    git("commit", "--quiet", "--allow-empty", "-m", "a person's")
    assert watch.settled() == ["the checked-out branch changed"]


def test_a_remote_that_does_not_answer_stops_no_watch_and_is_told_once(here, tmp_path, monkeypatch):
    """The loop itself, with an event that lets it look four times."""
    looks = []

    class FourLooks:
        def is_set(self):
            return len(looks) == 4

        def wait(self, seconds):
            looks.append(seconds)
            if len(looks) == 2:
                (tmp_path / "gone").rename(tmp_path / "bare")

    watch = Asked("origin/main")
    (tmp_path / "bare").rename(tmp_path / "gone")
    watch.watch.run(FourLooks())
    complaints = [
        line for line in watch.message if line.startswith("The watch of the branch origin/main goes on after")
    ]
    assert len(complaints) == 1
    first, found = (what for what, _ in watch.asked)
    assert first == "first look"
    assert found == "the branch origin/main and the checked-out branch changed", "once it answers"
    assert all(seconds >= module.SECONDS for seconds in looks)


def test_links_in_a_circle_and_folders_that_cannot_be_read_do_not_hang_or_stop_the_watch(tmp_path):
    (tmp_path / "raw/deep").mkdir(parents=True)
    (tmp_path / "raw/deep/up").symlink_to(tmp_path / "raw")
    (tmp_path / "raw/nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "raw/a.png").touch()
    before = folder_state(tmp_path / "raw")
    assert before == folder_state(tmp_path / "raw")
    (tmp_path / "raw/b.png").touch()
    assert before != folder_state(tmp_path / "raw")
    assert folder_state(tmp_path / "missing").startswith("0 files")
    assert folder_state(tmp_path / "raw/a.png").startswith("0 files")
