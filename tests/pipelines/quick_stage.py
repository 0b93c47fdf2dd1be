"""A stage that stands in for training; QuickProject copies this file over those of `stages/`."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from pathlib import Path

from infocl.runtime.errors import RetryableError, UserError
from infocl.runtime.files import write_json, write_text
from stages.run import run_stage

READS = {
    "pretrain": ["data/prepared"],
    "plain": ["data/prepared"],
    "probe": ["models/pretrain"],
    "transfer": ["models/pretrain", "data/targets"],
    "compare": ["models/plain", "models/features", "models/correct"],
    "audit": ["data/prepared", "models/plain", "models/pretrain"],
}
WRITES = {
    "prepare": "data/prepared",
    "targets": "data/targets",
    "pretrain": "models/pretrain",
    "plain": "models/plain",
    "probe": "models/features",
    "transfer": "models/correct",
    "audit": "models/audit",
}
# What else the stages read that do not read reg.weight.
READ_BY = {
    "plain": lambda params: {"plain": params.compare.plain},
    "compare": lambda params: {},
    "audit": lambda params: {},
}
OUTSIDE = Path("..")  # encoders and faults of the tests


def content(folder):
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def work(stage, params):
    _fault(stage)
    if stage == "check":
        write_json(Path("data/checked.json"), {"params": "valid"})
        return None
    print(f"{stage} at work", flush=True)
    made = {"seed": params.seed, **READ_BY.get(stage, lambda params: {"weight": params.reg.weight})(params)}
    if stage in ("prepare", "targets"):
        made = content("data/raw") if stage == "prepare" else {"targets": list(params.transfer.targets)}
    made |= {"read": [content(folder) for folder in READS.get(stage, [])]}
    if stage in WRITES:
        write_json(Path(WRITES[stage]) / "made.json", made)
    if stage == "export":
        exported = OUTSIDE / "encoders" / f"{params.reg.weight:g}"
        shutil.rmtree("exports/encoder", ignore_errors=True)
        Path("exports/encoder").mkdir(parents=True)
        for file in exported.iterdir():  # not copytree, which hides a full disk in an error of its own
            shutil.copyfile(file, f"exports/encoder/{file.name}")
    if stage == "report":
        write_text(Path("report/index.html"), f"<p>weight {params.reg.weight:g}</p>")
    digest = {"digest": hashlib.sha256(repr(made).encode()).hexdigest()}
    if stage == "compare":
        row = {
            "name": "digits",
            "test_images": 449,
            "majority": 0.1,
            "raw": 0.9,
            "histogram": 0.2,
            "plain": None,
        }
        row |= {"untrained": 0.55, "untrained_seeds": [0.55], "regularised": 0.9, "difference": None}
        return digest | {"regularizer": "rc", "digits": row | {"ci95": {}, "verdict": None}}
    if stage == "transfer":
        row = {"accuracy": 0.9, "accuracy_ci95": [0.85, 0.93], "knn_accuracy": 0.8}
        return digest | {"digits": row, "mean_accuracy": 0.9, "mean_accuracy_ci95": [0.85, 0.93]}
    return digest


def _fault(stage):
    """What a test put in the way of the next run of a stage, once: a class of errors and its words."""
    path = OUTSIDE / "faults" / stage
    if not path.exists():
        return
    kind, _, words = path.read_text().partition(" ")
    path.unlink()
    if kind == "sleep":
        print("asleep", flush=True)
        time.sleep(float(words))
        return
    if kind == "until":
        print("asleep", flush=True)
        while not Path(words).exists():
            time.sleep(0.1)
        return
    raise {"retryable": RetryableError, "wrong": UserError, "crash": RuntimeError}[kind](words)


if __name__ == "__main__":
    name = Path(sys.argv[0]).stem
    run_stage(name, lambda params: work(name, params))
