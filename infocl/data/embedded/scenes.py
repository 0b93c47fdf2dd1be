"""`scenes`, an embedded data set: real handwritten digits on a real photograph.

Each image shows one of scikit-learn's digits, in one of eight hues, at one of nine places, in one of
three sizes, upright or tilted, in front of a crop from one of six regions of a photograph. All are
drawn independently, so that what a representation keeps of each can be measured on its own: views
of an image share the digit, while flips, crops and colour jitter destroy tilt, place, size and hue.
Digits and photograph are split: no digit and no piece of the photograph is in both splits.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from matplotlib.colors import hsv_to_rgb
from sklearn.datasets import load_digits, load_sample_image
from torch import Tensor

from infocl.config import EmbeddedParams
from infocl.data.embedded import describe_task
from infocl.data.raw import Images, Labels, RawSet, RawSplit, Request
from infocl.runtime.files import sha256_array

Floats = npt.NDArray[np.float64]
CHUNK = 2000  # images composed at a time
TEST_DIGITS = 0.25
HUES = ["red", "orange", "amber", "yellow", "lime", "green", "emerald", "mint"]
HUE_STEP = 0.06  # turns of the colour circle; a jitter of 0.2 turns moves a hue by three classes
HUE_NOISE = 0.012
PLACES = [f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right")]
PLACE_STEP, PLACE_NOISE = 0.20, 0.03  # of the half side
SIZES = ["small", "medium", "large"]
SIZE_SHARES, SIZE_NOISE = np.array([0.60, 0.74, 0.90]), 0.02  # of the side
TILTS = ["left", "upright", "right"]
TILT_STEP, TILT_NOISE = 28.0, 5.0  # degrees
DETAIL = 0.15  # of the photograph's own contrast that a background keeps, so that the digit stands out
REGION_ROWS, REGION_COLUMNS = 2, 3
REGIONS = [f"{row} {column}" for row in ("upper", "lower") for column in ("left", "middle", "right")]
CROP_SHARES = (0.55, 1.0)  # of a tile's side
ATTRIBUTES: dict[str, list[str]] = {
    "hue": HUES,
    "position": PLACES,
    "scale": SIZES,
    "tilt": TILTS,
    "scenery": REGIONS,
}
ASKS = {
    "digit": "which digit a scene shows",
    "hue": "the colour of the digit",
    "position": "where the digit lies",
    "scale": "how large the digit is",
    "tilt": "how far the digit is turned",
    "scenery": "what part of a photograph lies behind",
}


class Composition(NamedTuple):
    """What each of N images shows: the exact values drawn around the classes."""

    digit: Labels  # (N,) which of the split's digits
    colour: Floats  # (N, 3) RGB in [0, 1]
    center: Floats  # (N, 2) x, y in [-1, 1]
    size: Floats  # (N,) share of the side
    angle: Floats  # (N,) degrees, counter-clockwise
    background: Floats  # (N, 4) centre x, y and half width, height in the photograph, in [-1, 1]

    def rows(self, chosen: slice) -> Composition:
        """The recipe of some of the images."""
        return Composition(**{name: part[chosen] for name, part in self._asdict().items()})


def load_scenes(request: Request, target: str = "digit") -> RawSet:
    """The set with the digits as classes; with another `target`, its labels for the same images."""
    splits = {}
    for split in ("train", "test"):
        images, labels = compose_split(request.data.scenes, request.data.image_size, split)
        splits[split] = RawSplit(images, labels[target])
    digits = target == "digit"
    return RawSet(
        classes=[str(digit) for digit in range(10)] if digits else ATTRIBUTES[target],
        source="digits of scikit-learn's load_digits on its photograph china.jpg (danielbuechele)",
        licence="BSD-3-Clause (digits), CC-BY-2.0 (photograph)",
        source_sha256=_source_sha256(),
        splits=splits,
        images_in=None if digits else "scenes",
        about=describe_task(ASKS[target], changed_by_views=target not in ("digit", "scenery")),
    )


def _source_sha256() -> str:
    parts = (load_digits().images, load_sample_image("china.jpg"))
    return sha256("".join(sha256_array(part) for part in parts).encode()).hexdigest()


@lru_cache(maxsize=4)
def compose_split(params: EmbeddedParams, image_size: int, split: str) -> tuple[Images, dict[str, Labels]]:
    """Images uint8 (N, S, S, 3) of a split, and the labels of all attributes and of the digit."""
    count = params.train_images if split == "train" else params.test_images
    stream = 0 if split == "train" else 1
    generator = np.random.default_rng((params.seed, stream))
    digits, names = split_digits(params.seed, split)
    labels = {
        name: generator.permutation(np.arange(count) % len(classes)) for name, classes in ATTRIBUTES.items()
    }
    recipe = draw_recipe(generator, labels, len(digits), split)
    chunks = [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]
    images = [_compose(digits, recipe.rows(chunk), image_size) for chunk in chunks]
    return np.concatenate(images), labels | {"digit": names[recipe.digit]}


def split_digits(seed: int, split: str) -> tuple[Floats, Labels]:
    """The digits of a split in [0, 1], (M, 8, 8), and which digit each is; no digit is in both."""
    data = load_digits()
    order = np.random.default_rng((seed, 2)).permutation(len(data.images))
    held_out = round(TEST_DIGITS * len(order))
    chosen = order[held_out:] if split == "train" else order[:held_out]
    return data.images[chosen] / 16, data.target[chosen].astype(np.int64)


def draw_recipe(
    generator: np.random.Generator, labels: dict[str, Labels], digits: int, split: str
) -> Composition:
    """Draw the values of each image around its classes, each on its own."""
    count = len(labels["hue"])

    def noise(*shape: int) -> Floats:
        return generator.uniform(-1, 1, (count, *shape))

    hue = HUE_STEP * labels["hue"] + HUE_NOISE * noise()
    saturation, value = 0.9 + 0.1 * noise(), 0.9 + 0.1 * noise()
    column, row = labels["position"] % 3 - 1, labels["position"] // 3 - 1
    center = PLACE_STEP * np.stack([column, row], axis=1) + PLACE_NOISE * noise(2)
    return Composition(
        digit=generator.integers(0, digits, count),
        colour=hsv_to_rgb(np.stack([hue % 1, saturation, value], axis=1)),
        center=center,
        size=SIZE_SHARES[labels["scale"]] + SIZE_NOISE * noise(),
        angle=TILT_STEP * (1 - labels["tilt"]) + TILT_NOISE * noise(),
        background=draw_crops(generator, labels["scenery"], split),
    )


def draw_crops(generator: np.random.Generator, regions: Labels, split: str) -> Floats:
    """A crop of the photograph for each region index: centre x, y and half width, height in [-1, 1].

    A region is cut into 4 x 4 tiles; crops lie within one tile. The tiles of one diagonal belong to
    the test split, the others to the training split.
    """
    count, tiles = len(regions), 4
    tile_row = generator.integers(0, tiles, count)
    step = generator.integers(1, tiles, count) if split == "train" else np.zeros(count, np.int64)
    tile_column = (tile_row + step) % tiles
    region_size = np.array([2 / REGION_COLUMNS, 2 / REGION_ROWS])
    region = np.stack([regions % REGION_COLUMNS, regions // REGION_COLUMNS], axis=1)
    tile = np.stack([tile_column, tile_row], axis=1)
    tile_size = region_size / tiles
    half = 0.5 * tile_size * generator.uniform(*CROP_SHARES, (count, 1))
    room = 0.5 * tile_size - half
    center = (
        -1 + region * region_size + (tile + 0.5) * tile_size + room * generator.uniform(-1, 1, (count, 2))
    )
    return np.concatenate([center, half], axis=1)


def photo_crops(name: str, crops: Floats, image_size: int) -> Tensor:
    """Crops (N, 4) of a sample photograph, resampled to (N, 3, S, S) in [0, 1]."""
    photo = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float() / 255
    center, half = torch.from_numpy(crops).float().chunk(2, dim=1)
    theta = torch.cat([torch.diag_embed(half), center[..., None]], dim=2)  # (N, 2, 3)
    shape = [len(crops), 3, image_size, image_size]
    grid = F.affine_grid(theta, shape, align_corners=False)
    return F.grid_sample(photo.expand(len(crops), -1, -1, -1), grid, align_corners=False)


def _compose(digits: Floats, recipe: Composition, image_size: int) -> Images:
    background = photo_crops("china.jpg", recipe.background, image_size)
    stroke = _strokes(digits, recipe, image_size)  # (N, 1, S, S)
    halo = F.avg_pool2d(F.max_pool2d(stroke, 3, 1, 1), 3, 1, 1)
    colour = torch.from_numpy(recipe.colour).float()[:, :, None, None]
    flat = background.mean((1, 2, 3), keepdim=True)
    shaded = (0.1 + 0.5 * (flat + DETAIL * (background - flat))) * (1 - 0.6 * halo)
    images = shaded * (1 - stroke) + colour * stroke
    return (255 * images.clamp(0, 1)).round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def _strokes(digits: Floats, recipe: Composition, image_size: int) -> Tensor:
    """Opacity of the digits' strokes, (N, 1, S, S) in [0, 1], placed, scaled and tilted."""
    glyphs = torch.from_numpy(digits[recipe.digit]).float()[:, None]
    glyphs = F.interpolate(glyphs, scale_factor=4, mode="bicubic", align_corners=False)
    angle = torch.from_numpy(np.deg2rad(recipe.angle)).float()
    cosine, sine = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    inverse = rotation / torch.from_numpy(recipe.size).float()[:, None, None]
    shift = -inverse @ torch.from_numpy(recipe.center).float()[..., None]
    grid = F.affine_grid(
        torch.cat([inverse, shift], dim=2), [len(glyphs), 1, image_size, image_size], align_corners=False
    )
    return ((F.grid_sample(glyphs, grid, align_corners=False) - 0.25) / 0.45).clamp(0, 1)
