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

SLOWEST = ("tests/pipelines/", "tests/parallel/", "tests/test_pipeline.py", "tests/deploy/")


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that no core waits for it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOWEST))


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()
