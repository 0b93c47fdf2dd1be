"""Bad places to write to: one line, exit code 2, and the export that was there stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infocl.export.exporter import export_encoder
from infocl.export.variants import require_room
from infocl.runtime.errors import UserError, guarded
from tests.tiny_run import tiny_params
from tests.workspace import ROOT

LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); "
STAGE = "import runpy; runpy.run_module('stages.export', run_name='__main__')"


def run_stage(bytes_at_most):
    Path("params.yaml").write_text(json.dumps(tiny_params().model_dump()))
    command = [sys.executable, "-c", LIMITED.format(bytes_at_most) + STAGE]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def everything():
    return {path: path.read_bytes() for path in Path("exports").rglob("*") if path.is_file()}


def test_a_full_disk_is_one_line_and_loses_nothing(project):
    before = everything()
    failed = run_stage(bytes_at_most=500_000)
    assert failed.returncode == 2, failed.stderr
    assert failed.stderr.startswith("infocl: the disk is full")
    assert failed.stderr.count("\n") == 1
    assert everything() == before


def test_a_file_where_the_folder_must_be_is_one_line(project, capsys):
    before = everything()
    Path("exports").rename("elsewhere")
    Path("exports").write_text("")
    assert guarded(lambda: export_encoder(tiny_params())) == 2
    message = capsys.readouterr().err
    assert message.startswith("infocl: a file lies where a folder must be")
    assert message.count("\n") == 1
    Path("exports").unlink()
    Path("elsewhere").rename("exports")
    assert everything() == before


def test_room_for_temporary_files_is_asked_for_first(tmp_path):
    require_room(tmp_path, 1)
    with pytest.raises(UserError, match=r"needs 1000000\.0 GB for temporary files; .* set TMPDIR"):
        require_room(tmp_path, 10**15)
