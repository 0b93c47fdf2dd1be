"""Prepared data go to a server that speaks S3, and come back; test_reruns.py does so by a folder."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from tests.pipelines.quick import QuickProject
from tests.s3 import served_bucket

OUTS = ("data/prepared", "data/targets")


def contents(project):
    return {
        str(path.relative_to(project.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for out in OUTS
        for path in (project.folder / out).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def bucket(monkeypatch):
    with served_bucket(monkeypatch) as found:
        yield found


def test_what_was_pushed_is_pulled(tmp_path, bucket):
    url, client = bucket
    project = QuickProject(tmp_path / "project")
    project.dvc("repro", "prepare", "targets")
    before = contents(project)
    assert len(before) == len(OUTS)
    project.dvc("remote", "add", "--default", "store", "s3://infocl/data")
    project.dvc("remote", "modify", "store", "endpointurl", url)
    project.dvc("push")
    assert len(client.list_objects_v2(Bucket="infocl")["Contents"]) >= len(set(before.values()))
    shutil.rmtree(project.folder / ".dvc/cache")
    for out in OUTS:
        shutil.rmtree(project.folder / out)
    project.dvc("pull", "check", "prepare", "targets")
    assert contents(project) == before
    assert "Running stage" not in project.dvc("repro", "prepare", "targets")
