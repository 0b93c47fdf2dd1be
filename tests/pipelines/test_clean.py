"""`infocl clean`: what it removes, and that no version, branch or recent commit loses anything."""

from __future__ import annotations

import os
import shutil
import sys
import time

import pytest

from infocl.deploy.sums import check_sums
from infocl.runtime.errors import UserError
from pipelines.clean import clean_up
from pipelines.registry import STAGING, Version, adopt, draft
from tests.pipelines.toy import make, nothing
from tests.workspace import ROOT

CLEAN = [sys.executable, "-m", "pipelines", "clean"]


@pytest.fixture
def history(tmp_path, monkeypatch):
    """Commits of 2020, one that nothing names and one in staging; those of today; a remote of its own."""
    toy = make(tmp_path)
    monkeypatch.chdir(toy.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
    toy.old = [toy.export(weights) for weights in (4.0, 5.0)]
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    adopt(draft(Version("v1.0.0", toy.old[1]), "waits", STAGING))
    toy.export(6.0)
    toy.dvc("push", "--quiet", "--all-commits")
    for name, age in (("0123456789abcdef", 100), ("fedcba9876543210", 1)):
        folder = toy.folder / "models/checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "checkpoint.safetensors").write_bytes(b"x" * 2000)
        written = time.time() - age * 86_400
        os.utime(folder / "checkpoint.safetensors", (written, written))
    return toy


def files_of(toy):
    return sum(path.is_file() for path in (toy.folder / ".dvc/cache/files").rglob("*"))


def test_only_what_nothing_names_goes_and_nothing_without_yes(history):
    before, checkpoints = files_of(history), history.folder / "models/checkpoints"
    would = history.run(*CLEAN, "--remote", "store")
    assert "Would remove the checkpoint models/checkpoints/0123456789abcdef (2.0 kB).\n" in would
    assert "files from DVC's cache.\n" in would
    assert "files from the DVC remote store.\n" in would
    assert would.endswith("Nothing was removed; infocl clean --yes does it.\n")
    assert (files_of(history), len(list(checkpoints.iterdir()))) == (before, 2)
    done = history.run(*CLEAN, "--remote", "store", "--yes")
    assert done.splitlines() == [line.replace("Would remove", "Removed") for line in would.splitlines()[:-1]]
    assert [path.name for path in checkpoints.iterdir()] == ["fedcba9876543210"]
    assert files_of(history) < before
    shutil.rmtree(history.folder / ".dvc/cache")
    for number, revision in enumerate(("encoder#staging#1", "main", history.commits[2])):
        history.dvc("get", ".", "exports/encoder", "--rev", revision, "-o", f"got{number}")
        check_sums(history.folder / f"got{number}")
    history.dvc("get", ".", "exports/encoder", "--rev", history.old[0], "-o", "gone", code=255)


def test_a_remote_that_is_not_there_is_refused(toy):
    with pytest.raises(UserError, match=r"elsewhere is not a DVC remote of this project \(store\)"):
        clean_up(90.0, "elsewhere", nothing, 0, dry=True)
