"""The records of a Prefect server, made once for all workers."""

from __future__ import annotations

import subprocess

from tests.once import once
from tests.project import environment


def records(tmp_path_factory):
    """The database of a Prefect server that nobody used, which takes it seconds to make."""

    def make(folder):
        command = ["prefect", "server", "database", "upgrade", "--yes"]
        variables = environment() | {"PREFECT_HOME": str(folder)}
        return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout

    return once(tmp_path_factory, "records", make) / "prefect.db"
