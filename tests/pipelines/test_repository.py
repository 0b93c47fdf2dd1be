"""Git between runs: results become commits, others' commits come in, and a person's own changes stay."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from infocl.runtime.errors import UserError
from pipelines.commands import CommandError
from pipelines.remote import require_names
from pipelines.repository import bring_in, commit_results, head, newest, require_repository


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def write(folder, **files):
    for name, text in files.items():
        path = folder / {"lock": "dvc.lock", "params": "params.yaml", "metric": "metrics/m.json"}.get(
            name, name
        )
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def commit(folder, message, **files):
    write(folder, **files)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()


@pytest.fixture
def clones(tmp_path, monkeypatch):
    """This clone, the current folder, and another person's, of one bare repository."""
    for name in ("here", "other"):
        if name == "here":
            git(tmp_path, "init", "--quiet", "--initial-branch", "main", "here")
        else:
            git(tmp_path, "clone", "--quiet", "bare", "other")
        for key, value in (("name", name), ("email", f"{name}@example.org")):
            git(tmp_path / name, "config", f"user.{key}", value)
        if name == "here":
            lines = "".join(f"line {number}\n" for number in range(20))
            commit(tmp_path / name, "start", lock=lines, params="seed: 0\n", metric="{}\n", code=lines)
            git(tmp_path, "clone", "--quiet", "--bare", "here", "bare")
            git(tmp_path / "here", "remote", "add", "origin", str(tmp_path / "bare"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here", tmp_path / "other"


def test_only_results_are_committed_and_a_persons_own_changes_stay_as_they_were(clones):
    here, _ = clones
    write(here, lock="new\n", metric='{"a": 1}\n', code="half an idea\n", notes="mine\n", staged="staged\n")
    git(here, "add", "staged")
    assert commit_results("Retrain: pretrain: seed 0 -> 1") == head()
    assert git(here, "show", "--name-only", "--format=%s", "HEAD").split("\n")[2:4] == [
        "dvc.lock",
        "metrics/m.json",
    ]
    assert set(git(here, "status", "--porcelain").splitlines()) == {" M code", "?? notes", "A  staged"}
    assert commit_results("Retrain: nothing") is None


def test_files_named_besides_are_committed_too_and_names_that_are_not_there_are_passed_over(clones):
    here, _ = clones
    write(here, **{"images.dvc": "md5\n"})
    commit_results("Retrain: data", ["images.dvc", "gone.dvc"])
    assert git(here, "show", "--name-only", "--format=", "HEAD").split() == ["images.dvc"]


def test_a_result_that_is_gone_is_committed_as_gone(clones):
    here, _ = clones
    write(here, **{"images.dvc": "md5\n"})
    commit_results("Retrain: data", ["images.dvc"])
    shutil.rmtree(here / "metrics")
    write(here, lock="new\n")
    commit_results("Retrain: other")
    assert git(here, "status", "--porcelain") == ""


def test_a_machine_without_a_git_identity_commits_too(clones, monkeypatch, tmp_path):
    here, other = clones
    for key in ("user.name", "user.email"):
        git(here, "config", "--unset", key)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    write(here, lock="new\n")
    commit_results("Retrain: x")
    commit(other, "theirs", code="other\n")
    git(other, "push", "--quiet")
    assert bring_in("origin/main")
    assert git(here, "log", "-2", "--first-parent", "--format=%ce").split() == ["infocl@localhost"] * 2


def test_new_commits_come_in_by_fast_forward_and_nothing_new_is_said_to_be_so(clones):
    _, other = clones
    assert newest("origin/main") == head() == newest("main")
    assert not bring_in("origin/main")
    theirs = commit(other, "theirs", code="other\n")
    git(other, "push", "--quiet")
    assert newest("origin/main") == theirs
    assert bring_in("origin/main")
    assert head() == theirs
    assert not bring_in("origin/main")


def test_a_branch_of_this_clone_is_tracked_by_its_name_alone(clones):
    here, _ = clones
    git(here, "checkout", "--quiet", "-b", "feature/colour")
    theirs = commit(here, "on a branch", code="other\n")
    git(here, "checkout", "--quiet", "main")
    assert newest("feature/colour") == theirs
    assert bring_in("feature/colour")
    assert head() == theirs


def test_results_that_both_sides_committed_do_not_conflict_and_their_code_and_ours_are_kept(clones):
    here, other = clones
    theirs = (other / "dvc.lock").read_text().replace("line 0", "theirs")
    commit(other, "theirs", lock=theirs, metric='{"a": 2}\n', code2="theirs\n")
    git(other, "push", "--quiet")
    lines = (here / "dvc.lock").read_text()
    write(here, lock=lines.replace("line 19", "ours"), metric='{"a": 1}\n')
    commit_results("Retrain: ours")
    assert bring_in("origin/main")
    assert (here / "dvc.lock").read_text() == theirs, "never a mixture of two reproductions"
    assert (here / "metrics/m.json").read_text() == '{"a": 2}\n'
    assert (here / "code2").exists()
    assert git(here, "status", "--porcelain") == ""
    assert len(git(here, "log", "-1", "--format=%p").split()) == 2


@pytest.mark.parametrize("result", ["lock", "metric"])
def test_a_result_that_the_other_side_removed_does_not_stop_the_merge(clones, result):
    here, other = clones
    name = {"lock": "dvc.lock", "metric": "metrics/m.json"}[result]
    git(other, "rm", "--quiet", name)
    commit(other, "removed", code="other\n")
    git(other, "push", "--quiet")
    write(here, **{result: "ours\n"})
    commit_results("Retrain: ours")
    assert bring_in("origin/main")
    assert not (here / name).exists()
    assert git(here, "status", "--porcelain") == ""


@pytest.mark.parametrize("ours", ["committed", "not committed"])
def test_code_that_both_sides_changed_is_left_to_a_person_in_one_line_and_nothing_is_touched(clones, ours):
    here, other = clones
    commit(other, "theirs", code="theirs\n")
    git(other, "push", "--quiet")
    if ours == "committed":
        commit(here, "ours", code="ours\n")
    else:
        write(here, code="ours\n")
    before = head(), git(here, "status", "--porcelain")
    with pytest.raises(
        CommandError, match=r"^origin/main cannot be merged \(.*\); merge it by hand$"
    ) as caught:
        bring_in("origin/main")
    assert (caught.value.exit_code, caught.value.retryable) == (2, False)
    assert "\n" not in str(caught.value)
    assert (head(), git(here, "status", "--porcelain")) == before
    assert (here / "code").read_text() == "ours\n"
    assert not (here / ".git/MERGE_HEAD").exists()


def test_results_of_a_cancelled_run_do_not_stop_a_merge_and_stay_where_it_is_refused(clones):
    """The other side changed two of them; the first merge is refused because of a person's own edit."""
    here, other = clones
    commit(other, "theirs", lock="theirs\n", params="seed: 1\n", **{"metrics/new.json": "theirs\n"})
    git(other, "push", "--quiet")
    ours = {"lock": "ours\n", "metric": "ours\n", "metrics/new.json": "ours\n"}
    write(here, params="seed: 2\n", **ours)
    git(here, "add", "dvc.lock")
    with pytest.raises(CommandError, match=r"^origin/main cannot be merged \(.*params\.yaml"):
        bring_in("origin/main")
    for name in ("dvc.lock", "metrics/m.json", "metrics/new.json"):
        assert (here / name).read_text() == "ours\n"
    assert (here / "params.yaml").read_text() == "seed: 2\n"
    git(here, "checkout", "--quiet", "params.yaml")
    write(here, code="a person's own\n")
    assert bring_in("origin/main")
    assert (here / "dvc.lock").read_text() == (here / "metrics/new.json").read_text() == "theirs\n"
    assert (here / "metrics/m.json").read_text() == "ours\n", "what only a run here made"
    assert git(here, "status", "--porcelain").splitlines() == [" M code", " M metrics/m.json"]
    assert git(here, "stash", "list") == ""


def test_an_untracked_file_in_the_way_of_a_merge_is_kept_and_named(clones):
    here, other = clones
    commit(other, "theirs", notes="theirs\n")
    git(other, "push", "--quiet")
    write(here, notes="mine\n")
    with pytest.raises(CommandError, match="notes"):
        bring_in("origin/main")
    assert (here / "notes").read_text() == "mine\n"


def test_a_branch_or_remote_that_is_not_there_is_one_line_and_only_the_latter_may_pass(clones, tmp_path):
    with pytest.raises(CommandError) as caught:
        newest("origin/nowhere")
    assert "\n" not in str(caught.value)
    assert "nowhere" in str(caught.value)
    with pytest.raises(CommandError, match="nowhere"):
        bring_in("origin/nowhere")
    git(clones[0], "remote", "add", "far", "http://127.0.0.1:9/nobody.git")
    with pytest.raises(CommandError) as caught:
        newest("far/main")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "remote",
    ["origin", "https://example.org/x.git", "ssh://me@example.org/x", "me@host:x", "/srv/a b.git", "../x"],
)
def test_names_and_urls_of_remotes_pass(clones, remote):
    require_names("origin/main", remote)
    require_names("feature/colour", None)


@pytest.mark.parametrize(
    "remote", ["", "nowhere", "-x", "/x\n", "ssh://-oProxyCommand=x/y", "fd::3", "/x::y"]
)
def test_what_is_neither_is_refused(clones, remote):
    expected = r"^git_remote is .* must be a git remote of this clone \(origin\) or a URL"
    with pytest.raises(UserError, match=expected):
        require_names(None, remote)


@pytest.mark.parametrize("track", ["", "-b", "a b", "x..y", "main\0"])
def test_what_cannot_be_a_branch_is_refused(clones, track):
    with pytest.raises(UserError, match=r"^track is .* but must be a branch such as main"):
        require_names(track, None)


def test_a_folder_that_is_no_clone_of_a_project_is_refused_with_the_hint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="not the project's root folder"):
        require_repository()
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / ".dvc").mkdir()
    with pytest.raises(UserError, match="retraining needs git and a commit"):
        require_repository()
    git(tmp_path, "init", "--quiet")
    with pytest.raises(UserError, match="retraining needs git and a commit"):
        require_repository()
