"""The order of the tests, and how random examples are drawn."""

from __future__ import annotations

from hypothesis import settings

# The same examples in each run, so that a change is blamed for what it did; new ones by
# `pytest --hypothesis-profile explore`.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("same")

SLOWEST = ("tests/pipelines/", "tests/parallel/", "tests/test_pipeline.py", "tests/deploy/")


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that no core waits for it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOWEST))
