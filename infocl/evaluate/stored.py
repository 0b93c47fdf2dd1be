"""Features on disk: written once by the probe, read by the transfer and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from infocl.runtime.errors import UserError
from infocl.runtime.files import (
    read_array,
    read_json,
    replacing_folder,
    sha256_array,
    write_array,
    write_json,
)
from infocl.runtime.paths import FEATURES, rerun

Features = npt.NDArray[np.float32]

FORMAT = 2
META_FILE = "meta.json"
CORRECT_FILE = "correct.npy"  # which test images the probe is right for, where the source is labelled
RERUN = rerun("probe", FEATURES)


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


def save_features(folder: Path, stored: StoredFeatures) -> None:
    """Replace the feature folder at once: one `.npy` file for each split, and `meta.json`."""
    about = {
        name: {
            "images_sha256": split.images_sha256,
            "images": len(split.features),
            "features_sha256": sha256_array(split.features),
        }
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
            name: (str(one["images_sha256"]), int(one["images"]), one["features_sha256"])
            for name, one in meta["splits"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{meta_file} lacks encoder_sha256 or a complete entry of splits; {RERUN}") from None
    splits = {
        name: SplitFeatures(_read_split(folder / f"{name}.npy", images, features_sha256), images_sha256)
        for name, (images_sha256, images, features_sha256) in about.items()
    }
    return StoredFeatures(encoder_sha256, splits)


def _read_split(path: Path, images: int, sha256: str) -> Features:
    features = read_array(path, RERUN)
    if features.dtype != np.float32 or features.ndim != 2 or len(features) != images:
        raise UserError(
            f"{path} holds {features.dtype} of shape {features.shape}, "
            f"not the float32 ({images}, D) that {META_FILE} describes; {RERUN}"
        )
    if sha256_array(features) != sha256:
        raise UserError(f"{path} is damaged: {META_FILE} has another SHA-256; {RERUN}")
    return features
