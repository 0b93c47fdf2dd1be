"""Features of a frozen encoder, the same on every run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from infocl.encoder.network import Encoder
from infocl.encoder.views import to_unit_range
from infocl.evaluate.stored import Features
from infocl.prepared.rows import Images, in_parts
from infocl.runtime.errors import InfoCLError

Extract = Callable[[Images], Features]  # uint8 images (N, H, W, 3) to float32 (N, D)


@torch.inference_mode()
def extract(
    encoder: Encoder,
    images: Images,
    device: torch.device,
    batch_size: int = 512,
    image_size: int | None = None,
) -> Features:
    """The encoder's features of a whole split, in float32 without autocast or TF32.

    Args:
        encoder: in evaluation mode, on `device`.
        images: uint8 (N, H, W, 3), read one batch at a time.
        device: where to compute.
        batch_size: images per forward pass.
        image_size: px that images are resized to, bilinearly with antialiasing; None leaves them as they are.

    Returns:
        float32 (N, D).

    Raises:
        InfoCLError: a feature is NaN or infinite.
    """
    features = np.empty((len(images), encoder.dim), dtype=np.float32)
    for rows, part in in_parts(images, batch_size):
        batch = to_unit_range(torch.from_numpy(part).to(device))
        if image_size not in (None, batch.shape[-1]):
            batch = F.interpolate(batch, image_size, mode="bilinear", antialias=True)
        features[rows] = encode(encoder, batch).cpu().numpy()
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
