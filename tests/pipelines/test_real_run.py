"""The whole way with nothing shortened but the sizes: torch, DVC, GTO, and no Prefect server that answers."""

from __future__ import annotations

import json
import re

import pytest

from tests.pipelines import faults
from tests.project import ALL


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return faults.shared(tmp_path_factory)


@pytest.fixture(scope="module")
def project(shared, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        prefect = faults.Prefect(tmp_path_factory.mktemp("prefect"))
        for name, value in prefect.variables().items():
            patch.setenv(name, value)
        made = faults.copied(shared, tmp_path_factory.mktemp("real") / "a project", prefect)
        yield made.project
        made.forget()


def test_a_run_without_a_server_trains_and_puts_a_first_encoder_in_service(shared, project):
    message = (shared.parent / "made").read_text()
    first = r"infocl: the Prefect server \S+ does not answer; this run is recorded on this machine only\.\n"
    assert re.match(first, message)
    assert set(re.findall(r"Running stage '([^']+)'", message)) == ALL
    assert "v1.0.0 is in service: all 3 checks passed." in message
    assert "exports/encoder is sound" in message
    about = json.loads((project.folder / "exports/service/current/encoder.json").read_text())
    transfer = json.loads((project.folder / "metrics/transfer.json").read_text())
    assert about["metrics"]["transfer"]["digits"]["accuracy"] == transfer["digits"]["accuracy"]
    assert project.git("status", "--porcelain") == ""
    assert project.run("infocl", "retrain") == "Nothing changed; v1.0.0 is in service.\n"
