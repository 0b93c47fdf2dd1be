"""Small batches for tests of regularisers."""

from __future__ import annotations

import torch

from infocl.encoder.network import Levels
from infocl.pretrain.batch import Batch, View
from infocl.pretrain.regularizers import build_regularizer
from infocl.pretrain.regularizers.base import Shapes
from tests.workspace import tiny_params

SHAPES = Shapes((8, 16, 32), 32)


def build(name, shapes=SHAPES, **block):
    """A regulariser with the shipped knobs, save those named."""
    return build_regularizer(params(name, **block), shapes)


def params(name, **block):
    return tiny_params(reg__name=name, **{f"reg__{name}__{key}": value for key, value in block.items()}).reg


def view(regularizer, count=12, seed=0, shapes=SHAPES, scale=1.0):
    """Float64 features of every level and pixels, perturbed as the regulariser does."""
    generator = torch.Generator().manual_seed(seed)
    clean = Levels(*(scale * torch.randn(count, d, generator=generator).double() for d in shapes.level_dims))
    pixels = torch.randn(count, 3, 32, 32, generator=generator)
    return View(pixels, clean, regularizer.perturb(clean, regularizer.draw(count, generator, clean.level4)))


def batch(regularizer, count=12, **parts):
    return Batch(view(regularizer, count, seed=1), view(regularizer, count, seed=2), **parts)


def pair(count=6, dim=5, seed=0):
    """Two related matrices (N, D) in float64."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return first, first + 0.5 * torch.randn(count, dim, generator=generator, dtype=torch.float64)
