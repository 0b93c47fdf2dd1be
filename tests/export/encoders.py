"""Encoders that a gate must know apart: the same network, spoilt in ways that training can spoil it."""

from __future__ import annotations

from pathlib import Path

import torch

from infocl.encoder.files import load_encoder, save_encoder

PRETRAIN = Path("models/pretrain")
OUTLIER = 3000.0


def respoil(change):
    """Apply `change` to the pretrained encoder and store it again, with a checksum that fits."""
    encoder, config = load_encoder(PRETRAIN)
    with torch.no_grad():
        change(encoder)
    known = {"format", "encoder", "dim", "mean", "std", "weights_sha256"}
    save_encoder(PRETRAIN, encoder, {key: value for key, value in config.items() if key not in known})


def collapse(encoder):
    """All images look alike from the stem on."""
    encoder.stem[0].weight.zero_()


def offset(encoder):
    """Embeddings far from zero: their differences are small beside what they share."""
    encoder.levels[-1][-1].bn2.bias += 1000


def outlier(encoder):
    """The same function in exact arithmetic, but one channel of a layer is `OUTLIER` times as large."""
    block = encoder.levels[1][0]
    block.bn1.weight[0] *= OUTLIER
    block.bn1.bias[0] *= OUTLIER
    block.conv2.weight[:, 0] /= OUTLIER


def overflow(encoder):
    """Weights that float16 holds, and activations that it does not."""
    encoder.stem[1].weight *= OUTLIER
    encoder.levels[0][0].bn1.weight *= OUTLIER
