"""How parts of the networks scale an image's side; needs no torch, so that the schema may read it."""

from __future__ import annotations

from typing import NamedTuple

STEM_STRIDE: dict[str, int] = {"cifar": 1, "stl": 2, "imagenet": 4}


class DecoderForm(NamedTuple):
    """A decoder of images from features.

    Attributes:
        start: side in px of the first map.
        channels: of the first map and, one after the other, of those of twice the side.
        last_stride: of the last transposed convolution, to the image's 3 channels.
    """

    start: int
    channels: tuple[int, ...]
    last_stride: int


# By the image's side in px (the released code of Wang et al., CVPR 2022).
PUBLISHED_DECODERS = {
    32: DecoderForm(4, (64, 256, 128, 64), 1),
    64: DecoderForm(4, (128, 128, 128, 128, 128), 1),
    224: DecoderForm(7, (64, 128, 128, 128, 64), 2),
}


def decoder_start(image_size: int) -> int | None:
    """Side in px, 4 or 7, from which doubling reaches `image_size`; None when neither does."""
    for start in (4, 7):
        quotient, rest = divmod(image_size, start)
        if rest == 0 and quotient >= 2 and quotient & (quotient - 1) == 0:
            return start
    return None
