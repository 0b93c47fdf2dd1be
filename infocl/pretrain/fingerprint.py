"""What shapes an encoder's weights, as one hash: a checkpoint belongs to the run that has the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

from infocl.config import Params
from infocl.config.train import NEUTRAL, optimizer_in_force
from infocl.runtime.code import code_sha256

ROOMS = ("prepared", "encoder", "pretrain")  # as in dvc.yaml


def fingerprint(params: Params, data: Mapping[str, Any]) -> str:
    """A hash of everything that shapes the weights: the pretraining params in force, the code, the data.

    Knobs of parts that are not chosen, and those that only say where or how often, are left out.
    """
    chosen = params.model_dump()
    train = {key: value for key, value in chosen["train"].items() if key not in NEUTRAL}
    train["optimizer"] = optimizer_in_force(train["optimizer"])
    shaping = {
        "data": dict(data),
        "code": code_sha256(ROOMS),
        "torch": torch.__version__,
        "seed": chosen["seed"],
        "views": chosen["views"],
        "encoder": chosen["encoder"],
        "objective": _chosen_part(chosen["objective"]),
        "reg": _chosen_part(chosen["reg"]),
        "train": train,
    }
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def _chosen_part(block: dict[str, Any]) -> dict[str, Any]:
    name = block["name"]
    return {key: value for key, value in block.items() if key in ("name", "weight", name)}
