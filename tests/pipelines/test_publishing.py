"""What reaches a git remote, and what does not: real remotes, two clones, and flows as people start them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from infocl.runtime.errors import UserError
from pipelines import service
from pipelines.commands import CommandError
from pipelines.registry import tags_of
from pipelines.remote import publish, take_tags
from pipelines.reports import plain_name
from pipelines.retrain import retrain
from pipelines.rollback import roll_back
from tests.pipelines.faults import until
from tests.pipelines.toy import copied, nothing, promoted, weights, weights_in_service
from tests.project import environment
from tests.workspace import ROOT

PROGRAM = "touch ran"
RECEIVE = f"--receive-pack={PROGRAM};git-receive-pack"
DECLINE = "#!/bin/sh\necho not today >&2\nexit 1\n"
WAIT = """#!/bin/sh
touch .git/waiting
until git ls-remote --tags origin | grep -q v1.1.0; do sleep 0.1; done
"""
RETRAIN = (sys.executable, "-m", "pipelines", "retrain", "--git-remote", "origin")


@pytest.fixture
def shared(served, tmp_path, monkeypatch):
    """A copy of that, and a git remote that has it; its newest commit was not judged."""
    toy = copied(served, tmp_path / "a toy")
    toy.git("init", "--quiet", "--bare", "--initial-branch", "main", str(tmp_path / "origin.git"))
    toy.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    toy.git("push", "--quiet", "origin", "main", "--tags")
    monkeypatch.chdir(toy.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return toy


@pytest.fixture
def run(shared, server, tmp_path):
    """Run the flow in this process, against the server."""

    def run(**parameters):
        with temporary_settings({PREFECT_API_URL: server, PREFECT_HOME: tmp_path / "home"}):
            parameters = {"git_remote": "origin", "retry_seconds": [0.1], **parameters}
            return retrain(**parameters, return_state=True)

    return run


def hook(repository, name, script):
    path = repository / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


def refs(toy):
    return toy.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")


def there(toy):
    """Branches and tags of the remote, and the objects that they name."""
    listed = toy.git("ls-remote", "--refs", "origin").splitlines()
    return {line.split("\t")[1]: line.split("\t")[0] for line in listed}


def last_decision():
    return list(service.journal())[-1]


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("git_remote", f"--git-remote={RECEIVE}"),
        ("git_remote", f"--git-remote=ext::sh -c {PROGRAM.replace(' ', '% ')}"),
        ("track", f"--track=--upload-pack={PROGRAM};git-upload-pack"),
    ],
)
def test_a_remote_or_branch_that_is_a_command_is_refused_in_one_line_before_anything_runs(
    shared, monkeypatch, name, option
):
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext:file")  # as a person may have set it
    shared.git("reset", "--quiet", "--hard", shared.commits[0])
    before = refs(shared)
    message = shared.run(sys.executable, "-m", "pipelines", "retrain", option, code=2)
    assert message.startswith(f"infocl: {name} is '")
    assert message.count("\n") == 1
    assert not list(shared.folder.rglob("ran"))
    assert refs(shared) == before


def test_a_runs_own_name_becomes_a_plain_word_for_dvc():
    assert plain_name("--temp; a person's sweep") == "temp-a-person-s-sweep"
    assert plain_name("--") == "run"


def test_runs_from_prefects_pages_and_rollbacks_refuse_such_a_remote_too(shared, run):
    state = run(git_remote=RECEIVE)
    assert state.is_failed()
    assert "git_remote is '--receive-pack=" in state.message
    with pytest.raises(UserError, match="git_remote is '--receive-pack="):
        roll_back(None, RECEIVE, nothing, 0)
    assert not list(shared.folder.rglob("ran"))


def test_a_detached_head_is_refused_at_the_start_in_one_line(shared):
    shared.git("checkout", "--quiet", "--detach")
    message = shared.run(*RETRAIN, code=2)
    assert message.startswith("infocl: HEAD is detached")
    assert message.count("\n") == 1


def test_what_the_remote_refuses_does_not_go_in_service_and_the_messages_say_so(
    shared, run, tmp_path, server, listener
):
    hook(tmp_path / "origin.git", "pre-receive", DECLINE)
    message = {"subject": "{{subject}}", "body": "{{body}}"}
    with temporary_settings({PREFECT_API_URL: server}):
        block = CustomWebhookNotificationBlock(name="ops", url=listener[0], json_data=message)
        block.save("publishing", overwrite=True)
    before, elsewhere = refs(shared), there(shared)
    state = run(notify="custom-webhook/publishing")
    assert state.is_failed()
    assert "refused the version (pre-receive hook declined), " in state.message
    assert listener[1][-1]["body"].endswith("and run again. In service as before: v1.0.0.")
    assert (refs(shared), there(shared), weights_in_service()) == (before, elsewhere, weights(1.0))
    assert [path.name for path in service.SERVICE.glob("v*")] == ["v1.0.0"]
    assert (last_decision()["decision"], last_decision()["version"]) == ("failed", "v1.1.0")
    assert "pre-receive hook declined" in last_decision()["reason"]


def test_what_an_unreachable_remote_did_not_take_is_published_by_the_next_run_without_training(
    shared, run, tmp_path
):
    shared.git("remote", "set-url", "origin", str(tmp_path / "away.git"))
    before = refs(shared)
    state = run()
    assert "nothing was published; the next run tries again without training" in state.message
    assert (refs(shared), weights_in_service()) == (before, weights(1.0))
    shared.git("remote", "set-url", "origin", str(tmp_path / "origin.git"))
    made = (shared.folder / "exports/encoder").stat().st_mtime_ns
    assert run().name == "Promoted"
    assert (shared.folder / "exports/encoder").stat().st_mtime_ns == made
    assert weights_in_service() == weights(3.0)
    assert there(shared) == dict(line.split() for line in refs(shared).splitlines())


def test_of_two_who_promote_at_once_one_wins_and_the_other_goes_on_from_there(shared, run, tmp_path):
    """The other one is about to push when the first one publishes."""
    other = copied(shared, tmp_path / "other")
    hook(other.folder / ".git", "pre-push", WAIT)
    before = refs(other)
    second = subprocess.Popen(
        RETRAIN,
        cwd=other.folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until((other.folder / ".git/waiting").exists, "the other run comes to its push")
    shared.export(4.0)
    assert run().name == "Promoted"
    message, _ = second.communicate(timeout=900)
    assert second.returncode in (1, 2), message
    assert "merge their commits (--track origin/main, or git pull) and run again" in message.splitlines()[-1]
    assert "Traceback" not in message
    assert refs(other) == before
    assert (other.folder / "exports/service/current").readlink().name == "v1.0.0"
    message = other.run(*RETRAIN, code=2)
    assert "main on origin has commits that this clone lacks" in message.splitlines()[-1]
    message = other.run(*RETRAIN, "--track", "origin/main")
    assert "v1.1.0 stays in service." in message
    assert weights_in_service() == weights(4.0)
    current = [folder / "exports/service/current/encoder.json" for folder in (shared.folder, other.folder)]
    assert current[0].read_bytes() == current[1].read_bytes()


def test_what_was_put_in_service_before_a_remote_was_named_is_published_by_a_run_with_nothing_to_do(
    shared, run
):
    version = promoted(shared, 2, "v1.1.0")
    assert not set(tags_of(version)) & set(there(shared))
    state = run()
    assert state.message == "Nothing changed; v1.1.0 is in service."
    assert there(shared) == dict(line.split() for line in refs(shared).splitlines())


def test_only_the_branch_and_the_named_tags_are_pushed(shared):
    shared.git("tag", "mine")
    shared.git("branch", "mine")
    publish("origin", tags_of(promoted(shared, 1, "v1.1.0")))
    new = {"refs/tags/encoder@v1.1.0", "refs/tags/encoder#production#2"}
    old = {"refs/heads/main", "refs/tags/encoder@v1.0.0", "refs/tags/encoder#production#1"}
    assert set(there(shared)) == new | old


def test_a_rollback_that_the_remote_refuses_changes_nothing(shared, tmp_path):
    promoted(shared, 1, "v1.1.0")
    hook(tmp_path / "origin.git", "pre-receive", DECLINE)
    before = refs(shared)
    with pytest.raises(CommandError, match="refused the version"):
        roll_back(None, "origin", nothing, 0)
    assert (refs(shared), weights_in_service()) == (before, weights(2.0))
    assert not service.JOURNAL.exists()


def test_a_rollback_needs_no_merge_of_what_others_pushed(shared, tmp_path):
    publish("origin", tags_of(promoted(shared, 1, "v1.1.0")))
    shared.git("clone", "--quiet", str(tmp_path / "origin.git"), str(tmp_path / "clone"))
    theirs = (
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@y",
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "theirs",
    )
    shared.git("-C", str(tmp_path / "clone"), *theirs)
    shared.git("-C", str(tmp_path / "clone"), "push", "--quiet")
    assert roll_back(None, "origin", nothing, 0).name == "v1.0.0"
    assert weights_in_service() == weights(1.0)
    assert "refs/tags/encoder#production#3" in there(shared)


def test_a_tag_that_is_another_one_on_the_remote_is_named(shared):
    shared.git("tag", "--force", "encoder@v1.0.0", shared.commits[2])
    with pytest.raises(UserError, match=r"^encoder@v1\.0\.0: not the same here and on origin; .* git tag -d"):
        take_tags("origin")
