"""A finished run for the report's tests."""

from __future__ import annotations

import shutil

import pytest

from infocl.export.exporter import export_encoder
from infocl.runtime.files import write_json
from infocl.runtime.paths import DETAILS
from tests.tiny_run import tiny_params, write_encoder, write_metrics, write_prepared, write_results


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        meta = write_prepared()
        write_encoder(meta)
        write_metrics()
        write_results(meta)
        found = export_encoder(tiny_params()) | {"seconds": 3.2, "peak_memory_mib": 900.5}
        write_json(DETAILS / "export.json", found)
    return root


@pytest.fixture
def project(finished_run, tmp_path, monkeypatch):
    """The current folder is a copy of the finished run."""
    copy = tmp_path / "project"
    shutil.copytree(finished_run, copy)
    monkeypatch.chdir(copy)
    return copy
