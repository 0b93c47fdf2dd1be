"""The order of the tests, how random examples are drawn, and when garbage is looked for."""

from __future__ import annotations

import gc

from hypothesis import settings

# The same examples in each run, so that a change is blamed for what it did; new ones by
# `pytest --hypothesis-profile explore`.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("same")

gc.disable()  # what is imported stays; looking through it again and again takes a tenth of all time

# Whole processes: servers, trainings, environments. They come first: no core waits for them at the end.
SLOW = (
    *("tests/pipelines/", "tests/parallel/", "tests/detection/", "tests/test_pipeline.py"),
    *("tests/deploy/", "tests/test_own_images.py", "tests/test_refused.py", "tests/test_reruns.py"),
    *("tests/test_remotes.py", "tests/data/test_shards.py", "tests/export/test_signing.py"),
    *("tests/export/test_faults.py", "tests/test_stage.py", "tests/recipes/"),
)
# Trainings and exports in this process: seconds each.
MEDIUM = (
    *("tests/data/", "tests/evaluate/", "tests/export/", "tests/report/", "tests/test_benchmarks.py"),
    *("tests/test_cli.py", "tests/test_contention.py", "tests/test_image_shape.py", "tests/test_imports.py"),
    *(
        "tests/test_knobs.py",
        "tests/test_matrix.py",
        "tests/test_no_waiting.py",
        "tests/test_plain.py",
        "tests/test_pretrain.py",
    ),
    *("tests/test_readmes.py", "tests/test_storages.py"),
)


def pytest_collection_modifyitems(items):
    """Name what is slow, and put it first."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")
        elif item.nodeid.startswith(MEDIUM):
            item.add_marker("medium")
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW))


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()
