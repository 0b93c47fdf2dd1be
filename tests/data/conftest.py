"""What tests of several storages share."""

from __future__ import annotations

import pytest

from tests.s3 import served_bucket


@pytest.fixture
def bucket(monkeypatch):
    """A client of an empty bucket `infocl`, on a server that the environment names."""
    with served_bucket(monkeypatch) as (url, client):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield client
