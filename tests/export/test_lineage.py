"""Hashes of DVC stages come from dvc.lock, and only where they are of the files that lie here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from infocl.export.lineage import dvc_hashes
from infocl.runtime.errors import UserError


@pytest.fixture
def lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("metrics/details").mkdir(parents=True)
    stages = {}
    for stage in ("check", "prepare", "pretrain", "export"):
        details = Path(f"metrics/details/{stage}.json")
        details.write_text(json.dumps({"seconds": len(stage)}))
        digest = hashlib.md5(details.read_bytes()).hexdigest()
        outs = [{"path": f"made/{stage}", "hash": "md5", "md5": f"{stage}.dir"}]
        stages[stage] = {"cmd": stage, "outs": [*outs, {"path": str(details), "md5": digest}]}
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
    return stages


def test_how_long_a_run_took_leaves_no_trace(lock):
    stages = json.loads(Path("dvc.lock").read_text())["stages"]
    before = dvc_hashes()
    for stage, row in stages.items():
        details = Path(f"metrics/details/{stage}.json")
        details.write_text(json.dumps({"seconds": 99}))
        row["outs"][1]["md5"] = hashlib.md5(details.read_bytes()).hexdigest()
        row["outs"].append({"path": "models/pretrain", "md5": "a folder with a history of speeds"})
        row["outs"].append({"path": f"metrics/{stage}.json", "md5": "images per second"})
    Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
    assert dvc_hashes() == before != {}


def test_earlier_stages_only(lock):
    assert dvc_hashes().keys() == {"prepare", "pretrain"}
    assert dvc_hashes()["pretrain"]["made/pretrain"] == "pretrain.dir"


@pytest.mark.parametrize("change", [lambda path: path.write_text("{}"), Path.unlink])
def test_a_stage_run_by_hand_since_is_left_out(lock, change):
    change(Path("metrics/details/pretrain.json"))
    assert dvc_hashes().keys() == {"prepare"}


def test_without_dvc_there_are_none(lock):
    Path("dvc.lock").unlink()
    assert dvc_hashes() == {}


@pytest.mark.parametrize("text", ["[", "stages: 3", "stages: {prepare: {outs: [{path: x}]}}", "{}"])
def test_a_damaged_lock_is_named(lock, text):
    Path("dvc.lock").write_text(text)
    with pytest.raises(UserError, match=r"dvc\.lock"):
        dvc_hashes()
