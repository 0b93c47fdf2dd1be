"""Features of a frozen encoder: computed once, kept on disk, reused by later stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infocl.encoders import Encoder
from infocl.errors import InfoCLError, UserError
from infocl.files import read_array, read_json, replacing_folder, write_array, write_json
from infocl.views import to_unit_range

Features = npt.NDArray[np.float32]

FORMAT = 1
META_FILE = "meta.json"
RERUN = "run the probe stage again (dvc repro probe)"


@dataclass(frozen=True)
class SplitFeatures:
    """Unstandardised features (N, D) of one split, and which images they are of."""

    features: Features
    images_sha256: str


@dataclass(frozen=True)
class StoredFeatures:
    """A folder of features: which encoder they come from, and the splits by name."""

    encoder_sha256: str
    splits: Mapping[str, SplitFeatures]


@torch.inference_mode()
def extract(
    encoder: Encoder, images: npt.NDArray[np.uint8], device: torch.device, batch_size: int = 512
) -> Features:
    """The encoder's features of a whole split, in float32 without autocast or TF32.

    Args:
        encoder: in evaluation mode, on `device`.
        images: uint8 (N, H, W, 3), possibly memory-mapped; read one batch at a time.
        device: where to compute.
        batch_size: images per forward pass.

    Returns:
        float32 (N, D).

    Raises:
        InfoCLError: a feature is NaN or infinite.
    """
    features = np.empty((len(images), encoder.dim), dtype=np.float32)
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
        features[start : start + batch_size] = encode(encoder, to_unit_range(batch)).cpu().numpy()
    require_finite(features, "the encoder")
    return features


def encode(encoder: Encoder, images: Tensor) -> Tensor:
    """Features (B, D) of images in [0, 1], the same on every run.

    TF32 rounds to 10 bits, which would set a GPU's features apart from those of the exported encoder.
    """
    with (
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        torch.autocast(images.device.type, enabled=False),
    ):
        features: Tensor = encoder(images)
    return features


def require_finite(features: npt.NDArray[np.floating], what: str) -> None:
    """Refuse features that no probe can use; `what` names their origin.

    Raises:
        InfoCLError: a feature is NaN or infinite.
    """
    rows = int((~np.isfinite(features).all(axis=1)).sum())
    if rows:
        raise InfoCLError(
            f"{what} gives NaN or infinite features for {rows} of {len(features)} images; pretraining has "
            "diverged: lower train.optimizer.lr and run dvc repro pretrain"
        )


def save_features(folder: Path, stored: StoredFeatures) -> None:
    """Replace the feature folder at once: one `.npy` file for each split, and `meta.json`."""
    about = {
        name: {"images_sha256": split.images_sha256, "images": len(split.features)}
        for name, split in stored.splits.items()
    }
    with replacing_folder(folder) as temporary:
        for name, split in stored.splits.items():
            write_array(temporary / f"{name}.npy", split.features)
        meta = {"format": FORMAT, "encoder_sha256": stored.encoder_sha256, "splits": about}
        write_json(temporary / META_FILE, meta)


def load_features(folder: Path) -> StoredFeatures:
    """Read a feature folder.

    Raises:
        UserError: a file is missing, corrupt, of another format, or does not fit `meta.json`.
    """
    meta_file = folder / META_FILE
    meta = read_json(meta_file, RERUN)
    if meta.get("format") != FORMAT:
        raise UserError(f"{meta_file} has format {meta.get('format')!r}, not {FORMAT}; {RERUN}")
    try:
        encoder_sha256 = str(meta["encoder_sha256"])
        about = {
            name: (str(one["images_sha256"]), int(one["images"])) for name, one in meta["splits"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{meta_file} lacks encoder_sha256 or a complete entry of splits; {RERUN}") from None
    splits = {
        name: SplitFeatures(_read_split(folder / f"{name}.npy", images), sha256)
        for name, (sha256, images) in about.items()
    }
    return StoredFeatures(encoder_sha256, splits)


def _read_split(path: Path, images: int) -> Features:
    features = read_array(path, RERUN)
    if features.dtype != np.float32 or features.ndim != 2 or len(features) != images:
        raise UserError(
            f"{path} holds {features.dtype} of shape {features.shape}, "
            f"not the float32 ({images}, D) that {META_FILE} describes; {RERUN}"
        )
    return features
