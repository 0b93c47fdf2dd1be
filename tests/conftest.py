"""The order of the tests, how random examples are drawn, when garbage is looked for, and a finished run."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in each run, so that a change is blamed for what it did; new ones by
# `pytest --hypothesis-profile explore`.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("same")

gc.disable()  # what is imported stays; looking through it again and again takes a tenth of all time

# Whole processes: servers, trainings, environments. They come first: no core waits for them at the end.
SLOW = (
    *("tests/pipelines/", "tests/pretrain/parallel/", "tests/detection/", "tests/test_pipeline.py"),
    *("tests/deploy/test_cluster.py", "tests/deploy/test_installed.py", "tests/test_own_images.py"),
    "tests/test_refused.py",
    *("tests/test_remotes.py", "tests/test_reruns.py", "tests/data/test_shards.py"),
)
# Trainings and exports in this process, and single stages in another: seconds each.
MEDIUM = (
    *("tests/data/", "tests/deploy/", "tests/evaluate/", "tests/export/", "tests/report/"),
    *("tests/audit/", "tests/encoder/test_imported.py", "tests/experiments/recipes/"),
    *("tests/pretrain/test_contention.py", "tests/pretrain/test_knobs.py", "tests/pretrain/test_matrix.py"),
    *("tests/pretrain/test_no_waiting.py", "tests/pretrain/test_plain.py", "tests/pretrain/test_pretrain.py"),
    *("tests/pretrain/test_static_step.py", "tests/pretrain/test_storages.py"),
    *("tests/test_benchmarks.py", "tests/test_image_shape.py", "tests/test_imports.py"),
    *("tests/test_readmes.py", "tests/test_stage.py"),
)

ROOT = Path(__file__).parents[1]
# The kinds that no test is of which Makefile's expressions ask for.
UNASKED = {"slow": {"medium", None}, "not slow": {"slow"}, "not slow and not medium": {"slow", "medium"}}


def kind(name):
    """Whether a file or a test is slow, medium or neither (None)."""
    return "slow" if name.startswith(SLOW) else "medium" if name.startswith(MEDIUM) else None


def pytest_ignore_collect(collection_path, config):
    """Tests of a GPU are for those who ask for them, by `make gpu` or `pytest -m cuda`.

    Nor are files read, with all that they import, of which no test is asked for.
    """
    asked = config.getoption("markexpr")
    if collection_path.name == "cuda" and asked != "cuda":
        return True
    name = collection_path.relative_to(ROOT).as_posix()
    return True if collection_path.is_file() and kind(name) in UNASKED.get(asked, ()) else None


def pytest_collection_modifyitems(items):
    """Name what is slow, and put it first."""
    for item in items:
        if item.nodeid.startswith("tests/cuda/"):
            item.add_marker("cuda")
        if mark := kind(item.nodeid):
            item.add_marker(mark)
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW))


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The project folder of a finished run, to read, and the metrics of its export."""
    from tests.finished import finished  # loads torch, which not every test needs

    return finished(tmp_path_factory)


@pytest.fixture
def finished_project(exported, tmp_path, monkeypatch):
    """The current folder is a copy of that project."""
    copy = shutil.copytree(exported[0], tmp_path / "project")
    monkeypatch.chdir(copy)
    return copy
