"""The releases of onnxruntime that cards name are those that were tried, and a file is tried as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks import try_export
from infocl.export.card import TRIED_IN_JAVASCRIPT, TRIED_PREPARED, TRIED_RUNTIMES
from tests.workspace import ROOT


def test_every_release_that_cards_name_was_tried_and_repeated_the_example():
    rows = json.loads((ROOT / "benchmarks/results/runtimes.json").read_text())["rows"]
    tried = tuple((row["runtime"], row["version"]) for row in rows)
    assert tried == (*TRIED_RUNTIMES, *TRIED_PREPARED, *TRIED_IN_JAVASCRIPT)
    for row in rows:
        raw = row["runtime"], row["version"]
        assert row["error"].get("prepared", 0) < 1e-5
        if raw not in TRIED_PREPARED:
            assert row["error"]["float32"] < 1e-5
            assert row["error"]["float16"] < 2e-3
        if row["runtime"] != "onnx":  # its reference evaluator has no DequantizeLinear of operator set 18
            assert row["error"]["int8"] is None if raw in TRIED_PREPARED else row["error"]["int8"] < 0.2


def try_it(folder):
    command = [sys.executable, try_export.__file__, "onnxruntime", str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_trial_needs_no_torch_and_notices_another_example(project):
    assert "torch" not in Path(try_export.__file__).read_text()
    folder = Path("exports/encoder")
    found = json.loads(try_it(folder).stdout)["error"]
    assert found.keys() == {"float32", "float16", "int8", "prepared"}
    assert found["prepared"] < 1e-5
    assert found["float32"] < 1e-5 < found["float16"] < found["int8"]
    example = dict(np.load(folder / "example.npz"))
    np.savez(folder / "example.npz", **example | {"images_33x48": example["images_33x48"][::-1]})
    assert json.loads(try_it(folder).stdout)["error"]["float32"] > 0.1
