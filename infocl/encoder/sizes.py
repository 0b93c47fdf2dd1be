"""How parts of the networks scale an image's side; needs no torch, so that the schema may read it."""

from __future__ import annotations

STEM_STRIDE: dict[str, int] = {"cifar": 1, "stl": 2, "imagenet": 4}


def decoder_start(image_size: int) -> int | None:
    """Side in px, 4 or 7, from which doubling reaches `image_size`; None when neither does."""
    for start in (4, 7):
        quotient, rest = divmod(image_size, start)
        if rest == 0 and quotient >= 2 and quotient & (quotient - 1) == 0:
            return start
    return None
