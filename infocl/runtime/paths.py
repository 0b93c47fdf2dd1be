"""Where the pipeline's files lie, relative to the project's root folder."""

from __future__ import annotations

import os
from pathlib import Path

CHECKED = Path("data/checked.json")  # what the stage check leaves for those that wait for it
PREPARED = Path("data/prepared")
TARGETS = Path("data/targets")
DECODING = Path("data/decoding")  # images decoded so far, until a preparation is complete
DECODED = Path("data/decoded")  # images of complete preparations, for the next ones
REJECTED = Path("data/rejected.csv")
PRETRAIN = Path("models/pretrain")
PLAIN = Path("models/plain")  # as models/pretrain, trained without regulariser
CHECKPOINTS = Path("models/checkpoints")
NOT_TRAINED = "not_trained.json"  # alone in models/plain where no plain encoder was asked for
CONFIG_FILE = "config.json"  # beside the encoder's weights in models/pretrain
FEATURES = Path("models/features")
CORRECT = Path("models/correct")  # which test images of each target the probe is right for
AUDIT = Path("models/audit")  # what the report shows of the audit
METRICS = Path("metrics")
DETAILS = METRICS / "details"
EXPORT = Path("exports/encoder")
SHARDS = Path("data/shards")  # copies of shards that lie in a bucket
DETECTION = Path("models/detection")
REPORT = Path("report/index.html")
RAW = Path("data/raw")


def rerun(stage: str, out: Path) -> str:
    """The hint for a missing or damaged result `out` of a stage.

    It is removed first, because DVC trusts a file whose size and time are as they were: neither `dvc
    repro` nor `dvc checkout --force` would replace it.
    """
    return f"make it again: rm -rf {out} && dvc repro {stage}"


def raw_folder(root: str | Path) -> Path:
    """The folder of raw files: $INFOCL_DATA when set, otherwise `root`."""
    return Path(os.environ.get("INFOCL_DATA") or root)
