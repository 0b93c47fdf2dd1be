"""A finished export to look at."""

from __future__ import annotations

import functools
import shutil

import pytest

from infocl.export.exporter import export_encoder
from tests.tiny_run import tiny_params, write_encoder, write_metrics, write_prepared


@functools.cache
def _export(root):
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_encoder(write_prepared())
        write_metrics()
        return root, export_encoder(tiny_params())


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A project folder with a finished export, and the stage's metrics; made once, whoever imports this."""
    return _export(tmp_path_factory.getbasetemp() / "exported")


@pytest.fixture
def project(exported, tmp_path, monkeypatch):
    """The current folder is a copy of that project."""
    copy = tmp_path / "project"
    shutil.copytree(exported[0], copy)
    monkeypatch.chdir(copy)
    return copy
