"""RC: raises I(z; v) by reconstructing the view from its representation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infocl.encoder.numerics import full_precision
from infocl.encoder.sizes import decoder_start
from infocl.pretrain.batch import Batch, LossTerm
from infocl.pretrain.regularizers.base import Regularizer, Shapes
from infocl.pretrain.regularizers.params import RCParams


@full_precision
def reconstruction_error(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Mean squared error over all pixels and channels, in squared standard deviations of the data.

    Up to constants this bounds -I(z; v) from above, for a Gaussian decoder.

    Args:
        decoded: g(z), (B, 3, H, W).
        pixels: the normalised view, (B, 3, H, W).

    Reference: Wang et al., CVPR 2022, the RC term.
    """
    return F.mse_loss(decoded, pixels)


class RC(Regularizer):
    """Decodes the clean representation back to the view's normalised pixels.

    The decoder is a linear layer to a 4x4 (or 7x7) map, then 3x3 stride-2 transposed convolutions with
    BatchNorm and ReLU, halving the channels, up to the image's size. The term is the sum of both
    views' errors; part `reconstruction_mse` is their mean.

    Reference: Wang et al., CVPR 2022.
    """

    def __init__(self, params: RCParams, shapes: Shapes) -> None:
        super().__init__()
        channels = params.channels
        if channels == "auto":
            channels = 128 if 32 < shapes.image_size <= 64 else 64
        self.decoder = Decoder(shapes.level_dims[-1], channels, shapes.image_size)

    def forward(self, batch: Batch) -> LossTerm:
        """Sum of the two views' reconstruction errors."""
        views = (batch.view1, batch.view2)
        own = batch.group.share(len(batch.view1.clean.level4))
        decoded = self.decoder(torch.cat([view.clean.level4[own] for view in views]))
        pixels = torch.cat([view.pixels for view in views])
        error = batch.group.mean(reconstruction_error(decoded, pixels))
        return LossTerm(2 * error, {"reconstruction_mse": error.detach()})

    def reconstruct(self, features: Tensor) -> Tensor:
        """Normalised images decoded from features (B, D)."""
        decoded: Tensor = self.decoder(features)
        return decoded


class Decoder(nn.Module):
    """Features (B, D) to images (B, 3, S, S)."""

    def __init__(self, dim: int, channels: int, image_size: int) -> None:
        super().__init__()
        start = decoder_start(image_size)
        if start is None:
            raise ValueError(f"no decoder reaches {image_size} px by doubling 4 or 7 px")
        self.first = nn.Sequential(
            nn.Linear(dim, channels * start * start), nn.Unflatten(1, (channels, start, start))
        )
        layers: list[nn.Module] = []
        size = start
        while size < image_size:
            size *= 2
            out = 3 if size == image_size else max(8, channels // 2)
            layers.append(nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1))
            if size < image_size:
                layers += [nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        self.upward = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Decode a batch."""
        images: Tensor = self.upward(self.first(features))
        return images
