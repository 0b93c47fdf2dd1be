"""Staging: a version waits there until a person or a rule puts it in service, or it is rejected."""

from __future__ import annotations

import getpass
import re

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from infocl.runtime.errors import UserError
from pipelines import service
from pipelines.approval import approve, promote, staged_at
from pipelines.registry import STAGING, Version, adopt, draft, export_md5, read_registry
from tests.pipelines.toy import nothing, production, weights, weights_in_service


@pytest.fixture
def staged(in_service):
    """v1.0.0 is in service, v1.1.0 waits in staging."""
    version = Version("v1.1.0", in_service.commits[1])
    adopt(draft(version, "waits", STAGING))
    service.reconcile(nothing)
    in_service.version = version
    return in_service


def test_what_waits_is_not_in_service_and_gto_names_both(staged):
    registry = read_registry()
    assert (registry.staged, registry.in_service.name) == (staged.version, "v1.0.0")
    assert weights_in_service() == weights(1.0)
    assert production(staged) == "v1.0.0"
    assert re.search(r"encoder +│ v1\.1\.0 +│ v1\.0\.0 +│ v1\.1\.0", staged.run("gto", "show"))
    staged.dvc("artifacts", "get", ".", "encoder", "--stage", "staging", "-o", "got")
    assert weights(2.0) in (staged.folder / "got/encoder.json").read_text()


def test_a_person_puts_it_in_service_and_the_journal_names_them(staged):
    said = []
    assert approve(None, None, said.append, 0, by="anna").name == "v1.1.0"
    assert said[-1] == "v1.1.0 is in service in place of v1.0.0."
    assert weights_in_service() == weights(2.0)
    assert production(staged) == "v1.1.0"
    assert read_registry().staged is None
    line = list(service.journal())[-1]
    assert (line["decision"], line["version"], line["by"]) == ("promoted", "v1.1.0", "anna")
    assert line["candidate"] == export_md5(staged.commits[1])
    with pytest.raises(UserError, match=r"no version waits in staging; infocl retrain --staging"):
        approve(None, None, nothing, 0)


def test_a_rejected_one_stays_out_and_the_one_in_service_stays(staged):
    said = []
    with pytest.raises(UserError, match=r"v1\.0\.0 does not wait in staging, v1\.1\.0 does"):
        approve("v1.0.0", None, nothing, 0)
    approve("1.1.0", None, said.append, 0, reject=True, by="anna")
    assert said[-1] == "v1.1.0 was rejected, v1.0.0 stays in service."
    assert (read_registry().staged, production(staged)) == (None, "v1.0.0")
    assert weights_in_service() == weights(1.0)
    assert list(service.journal())[-1]["decision"] == "rejected"


def test_the_newest_waits_and_every_decision_is_pushed(staged, tmp_path):
    third = Version("v1.2.0", staged.commits[2])
    adopt(draft(third, "waits", STAGING))
    assert read_registry().staged == third
    assert staged_at(third) >= staged_at(staged.version)
    staged.run("git", "init", "--quiet", "--bare", str(tmp_path / "bare"))
    staged.git("remote", "add", "upstream", str(tmp_path / "bare"))
    approve(None, "upstream", nothing, 0)
    pushed = {line.split("\t")[1] for line in staged.git("ls-remote", "upstream").splitlines()}
    assert {f"refs/tags/encoder{tag}" for tag in ("@v1.2.0", "#staging#3", "#production#4")} <= pushed
    assert list(service.journal())[-1]["by"] == getpass.getuser()


def test_a_rule_puts_it_in_service_once_it_has_waited_long_enough(staged, server, tmp_path):
    with temporary_settings({PREFECT_API_URL: server, PREFECT_HOME: tmp_path / "home"}):
        early = promote(after_hours=24.0, return_state=True)
        assert (early.name, weights_in_service()) == ("Too early", weights(1.0))
        assert early.message == "v1.1.0 waits in staging for 0.0 of 24 hours."
        done = promote(after_hours=0.0, return_state=True)
        assert (done.name, weights_in_service()) == ("Promoted", weights(2.0))
        assert list(service.journal())[-1]["by"] == "the rule after 0 hours"
        assert promote(after_hours=0.0, return_state=True).name == "Nothing waits"
