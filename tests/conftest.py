"""The order of the tests."""

from __future__ import annotations

SLOWEST = ("tests/pipelines/", "tests/parallel/", "tests/test_pipeline.py", "tests/deploy/")


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that no core waits for it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOWEST))
