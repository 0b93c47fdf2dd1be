"""`shapes`, the default data set: one coloured shape on a dark ground, drawn so that views hide its colour.

The source task is which of eight shapes is shown. Hue, brightness and place are drawn independently of it and
of each other; rotation, size, saturation and the ground are nuisance. All of them are as easy to see as the
shape, so what an encoder lacks is what its training suppressed, not what it could not read: where several
features would do, networks and contrastive losses learn some at the cost of others (Hermann and Lampinen,
NeurIPS 2020; Chen, Luo and Li, NeurIPS 2021; Robinson et al., NeurIPS 2021), and views decide which.

Each part of the design closes a way around that or keeps the cue visible to a reconstruction:
- The ground is achromatic. A jitter shifts all hues of a view alike, so beside a coloured ground the
  difference of the two hues would survive it and be shared by both views.
- Luma is the same whatever the hue, so that neither can be read from the other.
- All hues together cover little more than the jitter's shift to either side, otherwise the jitter would not
  move an image out of its class. Red and blue are left out: saturated, their luma is too low for the above.
- The hues are those about green and the ground is dark, so that a decoder, which sees pixel errors alone, in
  deviations of each channel, has to get the hue right: red falls and blue rises along these hues, and a fifth
  of the pixels' variance lies between the classes (from orange to green it is a twelfth).
- The shape fills the image, so that small crops still show what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infocl.config import ShapesParams
from infocl.data.embedded import describe_task
from infocl.data.raw import Images, Labels, RawSet, RawSplit, Request
from infocl.runtime.files import sha256_array

Floats = npt.NDArray[
    np.float64
]  # float32 would round differently from one CPU to another, so that bytes differ
CHUNK = 512  # images drawn at a time
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)
SATURATION = (0.75, 0.95)
FIRST_HUE = 0.20  # turns: lime
DARKEST = 0.30  # luma of the first class
LUMA_NOISE, HUE_NOISE = 0.3, 0.25  # of a step, to either side
BLACK = 0.02  # luma of the darkest ground
GRAIN = 0.02  # standard deviation of the grey noise on every pixel
OFFSET, OFFSET_NOISE = 0.15, 0.06  # of the half side, from the centre
RADIUS = (0.75, 1.05)  # of the half side


class Attribute(NamedTuple):
    """A property with its classes, what asks for it, and whether augmentation changes it."""

    classes: list[str]
    asks: str
    changed_by_views: bool = True


ATTRIBUTES = {
    "shape": Attribute(
        ["disc", "square", "triangle", "star", "plus", "ring", "crescent", "bar"],
        "which shape is shown",
        False,
    ),
    "hue": Attribute(["lime", "grass", "leaf", "green", "emerald", "turquoise"], "the hue of the shape"),
    "brightness": Attribute(["dark", "medium", "bright"], "how bright the shape is"),
    "place": Attribute(
        [f"{row} {column}" for row in ("upper", "lower") for column in ("left", "right")],
        "which corner the shape is nearest to",
    ),
}


def _triangle(x: Floats, y: Floats) -> Floats:
    side = 0.866 * np.abs(x)
    return np.minimum(0.45 + y, 0.45 - y / 2 - side)


def _star(x: Floats, y: Floats) -> Floats:
    edge: Floats = 0.62 + 0.36 * np.cos(5 * np.arctan2(x, y))
    return edge - np.hypot(x, y)


def _plus(x: Floats, y: Floats) -> Floats:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(0.3 - np.minimum(x, y), 0.92 - np.maximum(x, y))


# Signed distance from the edge at (x, y), positive inside, in units of the radius; in the classes' order.
DISTANCES: list[Callable[[Floats, Floats], Floats]] = [
    lambda x, y: 0.9 - np.hypot(x, y),
    lambda x, y: 0.78 - np.maximum(np.abs(x), np.abs(y)),
    _triangle,
    _star,
    _plus,
    lambda x, y: 0.2 - np.abs(np.hypot(x, y) - 0.72),
    lambda x, y: np.minimum(0.92 - np.hypot(x, y), np.hypot(x - 0.42, y) - 0.68),
    lambda x, y: np.minimum(0.36 - np.abs(y), 0.95 - np.abs(x)),
]


class Recipe(NamedTuple):
    """What each of N images shows: the exact values drawn around the classes."""

    shape: Labels  # (N,)
    colour: Floats  # (N, 3) RGB in [0, 1]
    center: Floats  # (N, 2) x, y in [-1, 1]
    radius: Floats  # (N,) of the half side
    angle: Floats  # (N,) radians
    ground: Floats  # (N,) grey in [0, 1]

    def rows(self, chosen: slice | Labels) -> Recipe:
        """The recipe of some of the images."""
        return Recipe(**{name: part[chosen] for name, part in self._asdict().items()})


def load_shapes(request: Request, target: str = "") -> RawSet:
    """The set with the shapes as classes; with `target`, labels of that attribute for the same images."""
    attribute, splits = target or "shape", {}
    for split in ("train", "test"):
        images, labels = draw_split(request.data.shapes, request.data.image_size, split)
        splits[split] = RawSplit(images, labels[attribute])
    classes, asks, changed_by_views = ATTRIBUTES[attribute]
    hashes = [sha256_array(split.images[:]) for split in splits.values()]
    return RawSet(
        classes=classes,
        source="drawn by InfoCL",
        licence="CC0-1.0",
        source_sha256=sha256("".join(hashes).encode()).hexdigest(),
        splits=splits,
        images_in="shapes" if target else None,
        about=describe_task(asks, changed_by_views=changed_by_views),
    )


@lru_cache(maxsize=4)
def draw_split(params: ShapesParams, image_size: int, split: str) -> tuple[Images, dict[str, Labels]]:
    """Images uint8 (N, S, S, 3) of a split, and the labels of all attributes."""
    count = params.train_images if split == "train" else params.test_images
    generator = np.random.default_rng((params.seed, 0 if split == "train" else 1))
    labels = {
        name: generator.permutation(np.arange(count) % len(about.classes))
        for name, about in ATTRIBUTES.items()
    }
    recipe = draw_recipe(generator, labels, params)
    images = np.empty((count, image_size, image_size, 3), np.uint8)
    for start in range(0, count, CHUNK):
        rows = slice(start, start + CHUNK)
        images[rows] = _draw(generator, recipe.rows(rows), image_size)
    return images, labels


def draw_recipe(generator: np.random.Generator, labels: dict[str, Labels], params: ShapesParams) -> Recipe:
    """Draw the exact values around each image's classes."""
    count = len(labels["shape"])

    def noise() -> Floats:
        return generator.uniform(-1, 1, count)

    hue_step = params.hue_range / len(ATTRIBUTES["hue"].classes)
    hue = FIRST_HUE + hue_step * (labels["hue"] + HUE_NOISE * noise())
    luma = DARKEST + params.brightness_step * (labels["brightness"] + LUMA_NOISE * noise())
    corner = np.stack([labels["place"] % 2, labels["place"] // 2], axis=1) * 2 - 1
    return Recipe(
        shape=labels["shape"],
        colour=colours(hue, generator.uniform(*SATURATION, count), luma),
        center=OFFSET * corner + OFFSET_NOISE * np.stack([noise(), noise()], axis=1),
        radius=generator.uniform(*RADIUS, count),
        angle=np.pi * noise(),
        ground=generator.uniform(BLACK, params.ground, count),
    )


def colours(hue: Floats, saturation: Floats, luma: Floats) -> Floats:
    """RGB (N, 3) of hue in turns and saturation in [0, 1] as in HSV, but with luma instead of value."""
    sector = (np.array([5.0, 3.0, 1.0]) + 6 * (hue[:, None] % 1)) % 6
    brightest = 1 - saturation[:, None] * np.clip(np.minimum(sector, 4 - sector), 0, 1)
    rgb: Floats = brightest * (luma / (brightest @ LUMA))[:, None]
    return rgb


def _draw(generator: np.random.Generator, recipe: Recipe, size: int) -> Images:
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    inside = np.empty((len(recipe.shape), size, size))
    for shape, distance in enumerate(DISTANCES):
        rows = np.flatnonzero(recipe.shape == shape)
        some = recipe.rows(rows)
        radius = some.radius[:, None, None]
        x, y = axis - some.center[:, :1, None], axis[:, None] - some.center[:, 1:, None]
        cosine, sine = np.cos(some.angle)[:, None, None], np.sin(some.angle)[:, None, None]
        pixels = (
            size / 2 * radius * distance((cosine * x + sine * y) / radius, (cosine * y - sine * x) / radius)
        )
        inside[rows] = np.clip(pixels + 0.5, 0, 1)  # an edge one pixel wide
    ground, colour = recipe.ground[:, None, None, None], recipe.colour[:, None, None, :]
    images = ground + inside[..., None] * (colour - ground)
    images += GRAIN * generator.standard_normal((len(inside), size, size, 1))
    return (255 * np.clip(images, 0, 1)).round().astype(np.uint8)
