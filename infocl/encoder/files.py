"""An encoder on disk: its weights, and the JSON file that rebuilds it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from infocl.config import EncoderParams
from infocl.encoder.network import Encoder
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, replacing, sha256_file, write_json
from infocl.runtime.paths import CONFIG_FILE, rerun

WEIGHTS_FILE = "encoder.safetensors"
FORMAT = 2


def save_encoder(folder: Path, encoder: Encoder, about: Mapping[str, Any]) -> None:
    """Write `encoder.safetensors` and `config.json`, which rebuilds the network and says what it is.

    Args:
        folder: where to write; must exist.
        encoder: the network; its weights are stored in float32.
        about: what else to record (objective, regulariser, data, params hash, ...).
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    with replacing(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(save(weights))
    config = {
        "format": FORMAT,
        "encoder": encoder.params.model_dump(),
        "dim": encoder.dim,
        "mean": encoder.mean.flatten().tolist(),
        "std": encoder.std.flatten().tolist(),
        "weights_sha256": sha256_file(folder / WEIGHTS_FILE),
        **about,
    }
    write_json(folder / CONFIG_FILE, config)


def load_encoder(folder: Path, device: torch.device | str = "cpu") -> tuple[Encoder, dict[str, Any]]:
    """Read an encoder, in evaluation mode, and its config.

    Raises:
        UserError: a file is missing, corrupt, of another format, or does not belong to the other.
    """
    hint = rerun(folder.name, folder)
    config = read_json(folder / CONFIG_FILE, hint)
    weights_file = folder / WEIGHTS_FILE
    if config.get("format") != FORMAT:
        raise UserError(f"{folder / CONFIG_FILE} has format {config.get('format')!r}, not {FORMAT}; {hint}")
    if not weights_file.exists():
        raise UserError(f"{weights_file} is missing; {hint}")
    if sha256_file(weights_file) != config.get("weights_sha256"):
        raise UserError(f"{weights_file} is not the file that {CONFIG_FILE} describes; {hint}")
    try:
        encoder = Encoder(EncoderParams(**config["encoder"]), config["mean"], config["std"])
        encoder.load_state_dict(load_file(weights_file))
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{weights_file} does not fit {CONFIG_FILE} ({reason}); {hint}") from None
    return encoder.to(device).eval(), config
