"""A finished tiny run, made once for all workers."""

from __future__ import annotations

import json

import pytest

from infocl.export.exporter import export_encoder
from infocl.runtime.files import write_json
from infocl.runtime.paths import DETAILS
from tests.once import once
from tests.tiny_run import tiny_params, write_encoder, write_metrics, write_prepared, write_results


def finished(tmp_path_factory):
    """Its project folder, and the metrics of its export; tests that write take a copy."""
    folder = once(tmp_path_factory, "finished", _make)
    return folder / "project", json.loads((folder / "made").read_text())


def _make(folder):
    (folder / "project").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "project")
        meta = write_prepared()
        write_encoder(meta)
        write_metrics()
        write_results(meta)
        found = export_encoder(tiny_params())
        write_json(DETAILS / "export.json", found | {"seconds": 3.2, "peak_memory_mib": 900.5})
    return json.dumps(found)
