"""How an image of any shape becomes square: as the exported graph does it, but in whole grey levels."""

from __future__ import annotations

from PIL import Image

from infocl.config import Crop


def middle_square(image: Image.Image) -> Image.Image:
    """The square in the middle of an image; an odd rest is rounded down at the top and on the left."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def to_square(image: Image.Image, size: int, crop: Crop) -> Image.Image:
    """An image of `size` x `size` px, antialiased, in whole grey levels.

    Args:
        image: RGB.
        size: height and width in px.
        crop: center (the middle square, resized) or squash (all of it, resized whatever its shape).
    """
    taken = middle_square(image) if crop == "center" else image
    return taken.resize((size, size), Image.Resampling.BILINEAR)
