"""Prepared data go to a DVC remote and come back: a folder, and a server that speaks S3 on this machine."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from tests.project import Project
from tests.s3 import served_bucket

OUTS = ("data/prepared", "data/targets")


def contents(project):
    return {
        str(path.relative_to(project.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for out in OUTS
        for path in (project.folder / out).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("work") / "project", transfer__targets=["hue", "digits"])
    project.dvc("repro", "prepare", "targets")
    project.commit("prepared")
    return project


@pytest.fixture
def folder_remote(tmp_path):
    return (
        str(tmp_path / "remote"),
        {},
        lambda: [path for path in (tmp_path / "remote").rglob("*") if path.is_file()],
    )


@pytest.fixture
def s3_remote(monkeypatch):
    with served_bucket(monkeypatch) as (url, client):
        yield (
            "s3://infocl/data",
            {"endpointurl": url},
            lambda: client.list_objects_v2(Bucket="infocl")["Contents"],
        )


@pytest.mark.parametrize("kind", ["folder_remote", "s3_remote"])
def test_what_was_pushed_is_pulled(prepared, kind, request):
    url, options, objects = request.getfixturevalue(kind)
    before = contents(prepared)
    assert {"data/prepared/README.md", "data/targets/hue/README.md"} <= before.keys()
    prepared.dvc("remote", "add", "--force", "--default", "store", url)
    for option, value in options.items():
        prepared.dvc("remote", "modify", "store", option, value)
    prepared.dvc("push")
    assert len(objects()) >= len(set(before.values()))
    shutil.rmtree(prepared.folder / ".dvc/cache")
    for out in OUTS:
        shutil.rmtree(prepared.folder / out)
    prepared.dvc("pull", "check", "prepare", "targets")
    assert contents(prepared) == before
    assert "Running stage" not in prepared.dvc("repro", "prepare", "targets")
