"""Features that need no training: what any encoder must beat to have learned something."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infocl.config import Params
from infocl.encoder.network import Encoder
from infocl.encoder.numerics import derive_seed
from infocl.encoder.views import Views, to_unit_range
from infocl.evaluate.stored import Features
from infocl.prepared.reader import Prepared
from infocl.prepared.rows import Images, in_parts

SIDE = 8  # px of the small picture that raw pixels are
CHANNEL_BINS, JOINT_BINS = 8, 4  # per channel: 3 x 8 values; of red, green and blue together: 4 x 4 x 4
PIXELS = 1 << 20  # of a chunk: 8 MiB of indices
CALIBRATION_IMAGES = 2048
CALIBRATION_BATCH = 256
UNTRAINED_WEIGHTS, UNTRAINED_VIEWS = 200, 201  # purposes of derived seeds


def raw_pixels(images: Images, device: torch.device) -> Features:
    """The images at 8x8 px, each pixel the mean of its area; float32 (N, 192) in 0..1, channel by channel.

    Args:
        images: uint8 (N, H, W, 3), read in chunks.
        device: where to compute.
    """
    return _in_chunks(
        images, device, lambda chunk: F.adaptive_avg_pool2d(to_unit_range(chunk), SIDE).flatten(1)
    )


def colour_histogram(images: Images, device: torch.device) -> Features:
    """Shares of an image's pixels by colour, whatever their places; float32 (N, 88).

    8 equal bins for each of red, green and blue, then 4 x 4 x 4 equal bins of the three together.

    Args:
        images: uint8 (N, H, W, 3), read in chunks.
        device: where to compute.
    """
    return _in_chunks(images, device, _histogram)


def _histogram(images: Tensor) -> Tensor:
    pixels = images.flatten(1, 2).long()  # (B, H * W, 3)
    single = pixels * CHANNEL_BINS // 256 + torch.arange(3, device=images.device) * CHANNEL_BINS
    place = torch.tensor([JOINT_BINS**2, JOINT_BINS, 1], device=images.device)
    joint = (pixels * JOINT_BINS // 256 * place).sum(dim=2, keepdim=True) + 3 * CHANNEL_BINS
    bins = 3 * CHANNEL_BINS + JOINT_BINS**3
    rows = torch.arange(len(images), device=images.device).view(-1, 1, 1) * bins
    found = torch.cat([single, joint], dim=2) + rows
    counts = torch.bincount(found.flatten(), minlength=len(images) * bins)
    return counts.view(len(images), bins).float() / pixels.shape[1]


@torch.inference_mode()
def _in_chunks(images: Images, device: torch.device, describe: Callable[[Tensor], Tensor]) -> Features:
    most = max(1, PIXELS // (images.shape[1] * images.shape[2]))
    parts = [
        (rows, describe(torch.from_numpy(part).to(device)).cpu().numpy())
        for rows, part in in_parts(images, most)
    ]
    features = np.empty((len(images), parts[0][1].shape[1]), np.float32)
    for rows, described in parts:
        features[rows] = described
    return features


def untrained_encoder(params: Params, data: Prepared, number: int, device: torch.device) -> Encoder:
    """An encoder as pretraining starts from it, with BatchNorm statistics of the views that it would see.

    Without those statistics its layers would not normalise, and it would be a worse one than it must be.

    Args:
        params: architecture, views and seed; `number` makes weights of its own.
        data: the source, by whose training images it normalises and calibrates.
        number: of the encoder, from 0.
        device: where to compute.

    Returns:
        The encoder in evaluation mode, on `device`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(params.seed, UNTRAINED_WEIGHTS, number))
        encoder = Encoder(params.encoder, data.mean, data.std)
    count = len(data.pretrain)
    rows = np.linspace(0, count - 1, min(count, CALIBRATION_IMAGES)).astype(np.int64)
    images = torch.from_numpy(data.pretrain.images[rows])
    views = Views(params.views, data.image_size)
    encoder.to(device)
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # statistics are the plain mean over batches
    with torch.no_grad():
        for start in range(0, len(rows), CALIBRATION_BATCH):
            batch = images[start : start + CALIBRATION_BATCH].to(device)
            encoder(torch.cat(views(batch, derive_seed(params.seed, UNTRAINED_VIEWS, start))))
    return encoder.eval()
