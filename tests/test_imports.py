"""What takes seconds to import is imported only by what needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.workspace import ROOT

HEAVY = {"torch", "torchvision", "sklearn", "kornia", "prefect", "onnxruntime"}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("infocl.cli.main", set()),
        ("stages.check", set()),
        ("stages.prepare", set()),
        ("stages.targets", set()),
        ("stages.report", {"sklearn"}),
        ("pipelines.command_line", set()),  # until it is known that there is something to do
    ],
)
def test_a_module_imports_no_more_than_it_needs(module, allowed):
    code = f"import sys, {module}; print(*{HEAVY} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= allowed
