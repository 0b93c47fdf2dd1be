"""Images from pooled features."""

from __future__ import annotations

from torch import Tensor, nn

from infocl.encoder.sizes import decoder_start


class Decoder(nn.Module):
    """Features (B, D) to images (B, 3, S, S): a linear layer and few channels.

    The linear layer makes a 4x4 (or 7x7) map; 3x3 stride-2 transposed convolutions with BatchNorm and ReLU
    between them double its side, halving the channels, up to the image's.
    """

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
