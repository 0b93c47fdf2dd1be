"""What `infocl drift` compares new images with: a sample of images that the encoder did not train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infocl.export.look import LOOKS, looks
from infocl.prepared.reader import Prepared
from infocl.prepared.rows import evenly_spread

REFERENCE_FILE = "drift.npz"
COMPONENTS = 32  # principal ones, at most; wide encoders would make the file large
TRAINING_IMAGES = 1024  # that the scales are taken from
FARTHEST = 60_000.0  # within float16
NOTHING = 1e-6  # of the largest standard deviation; directions that vary less are numerical noise
Floats = npt.NDArray[np.float64]
Embed = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def write_reference(path: Path, data: Prepared, embed: Embed, most: int) -> dict[str, Any] | None:
    """Write a sample of features and looks, each in units of its standard deviation, as float16.

    The sample is of the test split, because features of images that an encoder was trained on are not like
    those of new ones; centre, scale and directions are of training images, so that nothing is fitted to the
    sample and new images of the same kind cannot be told from it. Without a test split both are of training
    images, and drift is reported too often.

    Args:
        path: of the `.npz`: `mean` (D,), `directions` (K, D), `features` (N, K), `look_mean` and `look_scale`
            (L,), `looks` (N, L).
        data: the source data set.
        embed: images uint8 (N, S, S, 3) to embeddings (N, D).
        most: images of the sample.

    Returns:
        What `encoder.json` says of the file; None for a sample of no images.
    """
    if not most:
        return None
    split = "test" if "test" in data.splits else "train"
    images, training = _sample(data, split, most), _sample(data, "train", TRAINING_IMAGES)
    mean, directions, kept = principal(embed(training).astype(np.float64))
    seen = looks(training)
    look_mean, look_scale = seen.mean(0), np.maximum(seen.std(0), NOTHING)
    arrays = {
        "mean": mean.astype(np.float32),
        "directions": directions.astype(np.float32),
        "look_mean": look_mean.astype(np.float32),
        "look_scale": look_scale.astype(np.float32),
    }
    arrays["features"] = project(embed(images), arrays["mean"], arrays["directions"])
    arrays["looks"] = standardise(looks(images), arrays["look_mean"], arrays["look_scale"])
    np.savez(path, allow_pickle=False, **arrays)
    return {
        "file": path.name,
        "images": len(images),
        "split": split,
        "image_size": data.image_size,
        "crop": data.crop,
        "components": len(directions),
        "variance_kept": kept,
        "looks": list(LOOKS),
    }


def project(
    features: npt.NDArray[Any], mean: npt.NDArray[Any], directions: npt.NDArray[Any]
) -> npt.NDArray[np.float16]:
    """Features (N, D) along directions (K, D), float16 (N, K)."""
    return _halved((features.astype(np.float64) - mean) @ directions.astype(np.float64).T)


def standardise(seen: Floats, mean: npt.NDArray[Any], scale: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    """Looks (N, L) in units of the training images' standard deviation, float16."""
    return _halved((seen - mean) / scale)


def _halved(values: Floats) -> npt.NDArray[np.float16]:
    """As float16; what lies beyond its range is very far away all the same."""
    return np.clip(values, -FARTHEST, FARTHEST).astype(np.float16)


def principal(features: Floats) -> tuple[Floats, Floats, float]:
    """Principal directions of features (N, D).

    Returns:
        Their mean (D,), the first directions (K, D) divided by the standard deviation along them, and the
        share of the variance that these directions keep.
    """
    mean = features.mean(0)
    _, sizes, directions = np.linalg.svd(features - mean, full_matrices=False)
    scales = sizes / np.sqrt(max(len(features) - 1, 1))
    count = max(1, min(COMPONENTS, int((scales > NOTHING * scales[0]).sum())))
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])
    least = np.finfo(np.float64).tiny  # where all features are the same
    scaled = (signs[:, None] * directions)[:count] / np.maximum(scales[:count, None], least)
    return mean, scaled, float((scales[:count] ** 2).sum() / max((scales**2).sum(), least))


def _sample(data: Prepared, split: str, most: int) -> npt.NDArray[np.uint8]:
    part = data.split(split)
    return np.asarray(part.images[evenly_spread(len(part), most)])
