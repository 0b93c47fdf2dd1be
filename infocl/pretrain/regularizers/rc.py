"""RC: raises I(z; v) by reconstructing the view from its representation."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infocl.encoder.decoder import Decoder
from infocl.encoder.numerics import full_precision
from infocl.encoder.sizes import PUBLISHED_DECODERS
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.regularizers.base import Regularizer, Shapes
from infocl.pretrain.regularizers.params import RCParams


@full_precision
def reconstruction_error(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Mean squared error over all pixels and channels, in squared units of `encoder.normalization`.

    Up to constants this bounds -I(z; v) from above, for a Gaussian decoder.

    Args:
        decoded: g(z), (B, 3, H, W).
        pixels: the normalised view, (B, 3, H, W).

    Reference: Wang et al., CVPR 2022, the RC term.
    """
    return F.mse_loss(decoded, pixels)


class RC(Regularizer):
    """Decodes the clean representation back to the view's normalised pixels.

    The term is the sum of the views' errors; part `reconstruction_mse` is their mean.

    Reference: Wang et al., CVPR 2022, whose decoder is `reg.rc.decoder: published`.
    """

    def __init__(self, params: RCParams, shapes: Shapes) -> None:
        super().__init__()
        dim, size, channels = shapes.level_dims[-1], shapes.image_size, params.channels
        if channels == "auto":
            channels = 128 if 32 < size <= 64 else 64
        self.decoder: nn.Module = (
            published_decoder(dim, size) if params.decoder == "published" else Decoder(dim, channels, size)
        )

    def forward(self, batch: Batch) -> LossTerm:
        """Sum of the views' reconstruction errors."""
        views = batch.views
        own = batch.group.share(len(batch.view1.clean.level4))
        decoded = self.decoder(torch.cat([view.clean.level4[own] for view in views]))
        pixels = torch.cat([view.pixels for view in views])
        error = batch.group.mean(reconstruction_error(decoded, pixels))
        return LossTerm(len(views) * error, {"reconstruction_mse": error.detach()})


def published_decoder(dim: int, image_size: int) -> nn.Sequential:
    """Features (B, dim) to images (B, 3, S, S) of a side in `PUBLISHED_DECODERS`, as released.

    A linear layer to a 4x4 or 7x7 map, then 3x3 transposed convolutions that double its side, each but the
    last followed by BatchNorm and ReLU. At 32 and 64 px the last one keeps the side.

    Reference: Wang et al., CVPR 2022, the released code; 1,045,059 weights at 32 px and dim 512.
    """
    start, channels, last_stride = PUBLISHED_DECODERS[image_size]
    first = channels[0] * start**2
    layers: list[nn.Module] = [
        nn.Linear(dim, first, bias=False),
        nn.BatchNorm1d(first),
        nn.ReLU(inplace=True),
        nn.Unflatten(1, (channels[0], start, start)),
    ]
    for before, after in itertools.pairwise(channels):
        layers += [
            nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    last = nn.ConvTranspose2d(
        channels[-1], 3, 3, stride=last_stride, padding=1, output_padding=last_stride - 1
    )
    return nn.Sequential(*layers, last)
