"""Versions as git tags, and the way back: real git, DVC and GTO."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from infocl.runtime.errors import UserError
from pipelines import service
from pipelines.changes import Plan
from pipelines.commands import CommandError
from pipelines.promotion import _kind_of_change
from pipelines.registry import Registry, Version, export_md5, read_registry
from pipelines.rollback import roll_back
from pipelines.status import nothing_to_do, rules_in_force
from pipelines.versions import PAGE, print_versions
from tests.pipelines.exports import write_export
from tests.pipelines.toy import entered, nothing, production, promoted, weights, weights_in_service


@pytest.fixture(scope="module")
def made_two(served, tmp_path_factory):
    """A copy of the toy in which v1.0.0 and then v1.1.0 were put in service."""
    with pytest.MonkeyPatch.context() as patch:
        copy = entered(served, tmp_path_factory.mktemp("two"), patch)
        promoted(copy, 1, "v1.1.0")
    return copy


@pytest.fixture
def two(made_two, tmp_path, monkeypatch):
    """A copy of that, the current folder."""
    return entered(made_two, tmp_path, monkeypatch)


def test_versions_are_counted_by_kind_of_change_from_the_highest():
    assert Registry([], []).next_name("patch") == "v1.0.0"
    old, new = Version("v1.9.3", "a"), Version("v1.10.0", "b")
    registry = Registry([old, new], [new, old])
    assert [registry.next_name(kind) for kind in ("major", "minor", "patch")] == [
        "v2.0.0",
        "v1.11.0",
        "v1.10.1",
    ]
    assert registry.in_service == old
    assert registry.find("1.10.0") == registry.find("v1.10.0") == new
    assert registry.find("v3.0.0") is None


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "patch"),
        ({"weights_sha256": "ab" * 32}, "minor"),
        ({"dim": 8, "weights_sha256": "ab" * 32}, "major"),
        ({"input": {"name": "pixels"}}, "major"),
        ({"output": {"name": "vector"}}, "major"),
        ({"normalized": True}, "major"),
        ({"format": 3}, "major"),
    ],
)
def test_the_kind_of_change_is_what_consumers_must_change(tmp_path, monkeypatch, change, kind):
    monkeypatch.chdir(tmp_path)
    write_export(service.SERVICE / "v1.0.0", digits=(400, 449))
    new = write_export(tmp_path / "exports/encoder", digits=(400, 449)) / "encoder.json"
    new.write_text(json.dumps(json.loads(new.read_text()) | change))
    now = Version("v1.0.0", "a")
    assert _kind_of_change(Registry([now], [now])) == kind


def test_a_version_is_found_by_its_tags_whatever_the_clock_says(toy, monkeypatch):
    """The clock is set back by years between the two; GTO's own commands go by dates."""
    promoted(toy, 0, "v1.0.0")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "981173106 +0000")
    promoted(toy, 1, "v1.1.0")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    assert read_registry().in_service == Version("v1.1.0", toy.commits[1])
    assert production(toy) == "v1.1.0"
    toy.dvc("artifacts", "get", ".", "encoder", "--stage", "production", "-o", "got")
    got = json.loads((toy.folder / "got/encoder.json").read_text())["weights_sha256"]
    assert got == weights_in_service() == weights(2.0)
    newest = toy.git("tag", "--sort=-creatordate").split()
    assert newest[0] == "encoder#production#2"
    dates = dict(
        line.split() for line in toy.git("tag", "--format=%(refname:short) %(creatordate:unix)").splitlines()
    )
    assert int(dates["encoder@v1.0.0"]) <= int(dates["encoder#production#1"]) < int(dates["encoder@v1.1.0"])


def test_rollback_goes_to_the_version_before_to_a_named_one_and_twice_and_says_where_it_ends(two):
    promoted(two, 2, "v1.2.0")
    message = []
    assert roll_back(None, None, message.append, 0).name == "v1.1.0"
    assert message[-1] == "v1.1.0 is in service instead of v1.2.0."
    assert weights_in_service() == weights(2.0)
    assert roll_back(None, None, nothing, 0).name == "v1.0.0"
    with pytest.raises(UserError, match=r"no version older than v1\.0\.0 was in service; name one with --to"):
        roll_back(None, None, nothing, 0)
    assert roll_back("1.2.0", None, nothing, 0).name == "v1.2.0"
    assert weights_in_service() == weights(3.0)
    with pytest.raises(UserError, match=r"v1\.2\.0 is in service already"):
        roll_back("v1.2.0", None, nothing, 0)
    with pytest.raises(UserError, match=r"there is no version v9; name one of v1\.0\.0, v1\.1\.0, v1\.2\.0"):
        roll_back("v9", None, nothing, 0)
    assert production(two) == "v1.2.0"
    entries = list(service.journal())
    assert [(entry["decision"], entry["version"]) for entry in entries] == [
        ("rolled back", name) for name in ("v1.1.0", "v1.0.0", "v1.2.0")
    ]
    assert entries[0]["candidate"] == export_md5(two.commits[1])


def test_what_was_rolled_back_stays_out_until_it_is_named_or_forced(two):
    promoted(two, 2, "v1.2.0")
    plan, rules = Plan([], {}), rules_in_force(None)
    other = rules_in_force({"max_mean_drop": 0.5})
    assert nothing_to_do(plan, rules, forced=False).message == "Nothing changed; v1.2.0 is in service."
    roll_back(None, None, nothing, 0)
    for thresholds in (rules, other):
        message = nothing_to_do(plan, thresholds, forced=False).message
        assert "v1.1.0 is in service; v1.2.0 was rolled back and stays out" in message
    assert nothing_to_do(plan, rules, forced=True) is None
    roll_back("v1.2.0", None, nothing, 0)
    assert read_registry().withdrawn(export_md5()) is None


def test_without_a_version_there_is_nothing_to_go_back_to(toy):
    with pytest.raises(UserError, match="no version to go back to"):
        roll_back(None, None, nothing, 0)
    promoted(toy, 0, "v1.0.0")
    with pytest.raises(UserError, match=r"no version older than v1\.0\.0"):
        roll_back(None, None, nothing, 0)
    assert weights_in_service() == weights(1.0)


def test_a_rollback_is_pushed_with_its_tags_only(two, tmp_path):
    two.run("git", "init", "--quiet", "--bare", str(tmp_path / "bare"))
    two.git("remote", "add", "upstream", str(tmp_path / "bare"))
    roll_back(None, "upstream", nothing, 0)
    pushed = {line.split("\t")[1] for line in two.git("ls-remote", "upstream").splitlines()}
    assert {"refs/heads/main", "refs/tags/encoder@v1.0.0", "refs/tags/encoder#production#3"} <= pushed
    assert "refs/tags/encoder@v1.1.0" not in pushed


def test_a_version_whose_files_are_gone_comes_from_the_dvc_remote_or_the_old_one_stays(two):
    shutil.rmtree(two.folder / ".dvc/cache")
    shutil.rmtree(service.SERVICE / "v1.0.0")
    assert roll_back(None, None, nothing, 0).name == "v1.0.0"
    assert weights_in_service() == weights(1.0)
    shutil.rmtree(two.folder / ".dvc/cache", ignore_errors=True)
    shutil.rmtree(service.SERVICE / "v1.1.0", ignore_errors=True)
    two.dvc("remote", "modify", "store", "url", str(two.folder.parent / "nowhere"))
    before = two.git("tag")
    with pytest.raises(CommandError) as caught:
        roll_back("v1.1.0", None, nothing, 0)
    assert "\n" not in str(caught.value)
    assert (two.git("tag"), weights_in_service()) == (before, weights(1.0))
    assert sorted(path.name for path in service.SERVICE.iterdir()) == ["current", "journal.jsonl", "v1.0.0"]


def test_tags_can_be_made_on_a_machine_without_a_git_identity(toy, monkeypatch, tmp_path):
    toy.git("config", "--unset", "user.name")
    toy.git("config", "--unset", "user.email")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    before = dict(os.environ)
    promoted(toy, 0, "v1.0.0")
    assert os.environ == before
    assert toy.git("tag", "--format=%(taggeremail)").split() == ["<infocl@localhost>"] * 2


def test_tags_of_other_artifacts_and_stages_and_removed_versions_do_not_count(two):
    two.git("tag", "encoder#staging#1", two.commits[2])
    two.git("tag", "decoder@v7.0.0", two.commits[2])
    two.git("tag", "encoder-nonsense", two.commits[2])
    assert read_registry().in_service.name == "v1.1.0"
    two.run("gto", "deprecate", "encoder", "v1.1.0")
    registry = read_registry()
    assert [version.name for version in registry.versions] == ["v1.0.0"]
    assert registry.in_service.name == "v1.0.0"


def test_one_page_and_one_table_over_all_versions_and_decisions(two, capsys):
    """From tags, DVC and the journal alone; of one version the card is gone from the cache and the remote."""
    roll_back(None, None, nothing, 0)
    service.record("refused", "abcdef012345", {}, reason="digits: 66.8 % against <89.1> %")
    two.git("tag", "encoder@v1.2.0", two.commits[2])
    md5 = export_md5(two.commits[2])
    (two.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    two.dvc("remote", "modify", "store", "url", str(two.folder.parent / "nowhere"))
    print_versions()
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line for line in printed.splitlines()}
    assert "in service" in rows["v1.0.0"]
    assert "rolled back" in rows["v1.1.0"]
    assert "89.1 %" in rows["v1.0.0"]
    assert "85.9 to 91.6 %" in rows["v1.0.0"], "the interval of 400 of 449"
    assert "registered" in rows["v1.2.0"]
    assert "89.1" not in rows["v1.2.0"]
    assert "refused: candidate abcdef0: digits: 66.8 % against <89.1> %" in printed
    page = PAGE.read_text()
    assert "<h1>v1.0.0 is in service</h1>" in page
    assert "SimCLR + RC (λ = 2)" in page
    assert "its card is neither in DVC&#39;s cache nor on its remote" in page
    assert "digits: 66.8 % against &lt;89.1&gt; %" in page
    assert "rolled back" in page
    assert "http" not in page
    assert page.count('class="task"') == 2, "the source task and digits"


def test_without_a_version_there_is_no_page(toy):
    with pytest.raises(UserError, match="no version of the encoder yet"):
        print_versions()
