"""The current folder of these tests is a finished run."""

from __future__ import annotations

import pytest


@pytest.fixture
def project(finished_project):
    return finished_project
