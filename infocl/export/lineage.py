"""Where an export comes from: hashes of data, params, code and weights, and those of the DVC stages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infocl.config.file import read_yaml
from infocl.prepared.reader import Prepared
from infocl.runtime.errors import UserError
from infocl.runtime.paths import DETAILS, METRICS, PRETRAIN

DVC_LOCK = Path("dvc.lock")
TIMED = (f"{METRICS}/", str(PRETRAIN))  # hold how fast the run was, so no two runs give one hash
EARLIER = ("prepare", "targets", "pretrain", "probe", "transfer")


def lineage(config: Mapping[str, Any], data: Prepared) -> dict[str, Any]:
    """Hashes that lead back to what made the encoder; a key of unknown origin is null.

    Args:
        config: of the pretrained encoder.
        data: the source data set.
    """
    known = ("version", "params_sha256", "git_revision", "weights_sha256")
    return {
        "data_sha256": data.meta.get("source_sha256"),
        **{key: config.get(key) for key in known},
        "dvc_stages": dvc_hashes(),
    }


def dvc_hashes() -> dict[str, dict[str, str]]:
    """What dvc.lock says that each earlier stage made: hashes by path, by stage.

    Outputs that hold times are left out, so that runs with equal weights are described alike; the weights
    have a hash of their own. So is a stage that was run by hand since: its details are not those of the lock.

    Raises:
        UserError: dvc.lock is damaged.
    """
    if not DVC_LOCK.exists():
        return {}
    try:
        stages = read_yaml(DVC_LOCK)["stages"]
        made = {
            name: {str(out["path"]): str(out["md5"]) for out in stages[name]["outs"]}
            for name in EARLIER
            if name in stages
        }
    except (KeyError, TypeError):
        raise UserError(f"{DVC_LOCK} is damaged; restore it (git checkout {DVC_LOCK})") from None
    current = {
        name: {path: digest for path, digest in outs.items() if not path.startswith(TIMED)}
        for name, outs in made.items()
        if _current(name, outs)
    }
    return {name: outs for name, outs in current.items() if outs}


def _current(stage: str, outs: Mapping[str, str]) -> bool:
    details = DETAILS / f"{stage}.json"
    if not details.exists():
        return False
    content = hashlib.md5(details.read_bytes(), usedforsecurity=False).hexdigest()
    return outs.get(details.as_posix()) == content
