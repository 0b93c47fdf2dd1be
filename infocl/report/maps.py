"""Embedding maps: the same test images by the features of each encoder, coloured by what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from colorsys import hls_to_rgb
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from matplotlib.colors import to_hex
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from infocl.report.inputs import Attribute, Inputs
from infocl.results.comparison import SOURCE, TITLES_OF_KINDS
from infocl.runtime.text import percent

CLASS_COLOURS = (
    "#4477dd",
    "#e8743b",
    "#19a979",
    "#d6479b",
    "#8a63d2",
    "#c9a227",
    "#13a4b4",
    "#d64550",
    "#7a8f2b",
    "#8d7265",
)
GOLDEN = 0.6180339887498949  # of a turn: no two of many hues come near each other
LEAST_FOR_TSNE = 50
NEIGHBOURS = 10
SIDE, MARGIN = 480, 8  # px of a map
TRUST = (
    "Trustworthiness is 1 when no image has neighbours in the plane that are not its neighbours in the "
    "feature space."
)


@dataclass(frozen=True)
class EmbeddingMap:
    """Positions of M test images in the plane and how they were found.

    `trust` is the trustworthiness in 0..1 (Venna and Kaski 2001): 1 when no image has neighbours in the
    plane that are not its neighbours in the feature space; None where there are too few images. `nearest`
    are each image's neighbours in the feature space, (M, k), the nearest first.
    """

    points: npt.NDArray[np.float64]
    nearest: npt.NDArray[np.int64]
    method: str
    trust: float | None


class Drawn(NamedTuple):
    """The map of one encoder: its title, the drawing, and what can be said of it."""

    title: str
    drawing: Markup
    words: str


class MapPair(NamedTuple):
    """One attribute: a map for each encoder, and number, name and colour of each class."""

    key: str
    name: str
    maps: list[Drawn]
    legend: list[tuple[int, str, str]]

    @property
    def about(self) -> str:
        """What the words below the maps mean."""
        near = f"Neighbours are each image's {NEIGHBOURS} nearest in the feature space. "
        return near + TRUST if self.legend else TRUST


def map_pairs(inputs: Inputs) -> list[MapPair]:
    """A pair for each attribute, first what plain training forgot; without any, one pair in one colour."""
    left = inputs.left
    planes = {
        kind: embed_in_plane(features, inputs.params.seed)
        for kind, features in zip(left.kinds, left.features, strict=True)
    }
    if not inputs.attributes:
        return [MapPair("all", "", [_drawn(kind, plane, None) for kind, plane in planes.items()], [])]
    return [
        _pair(f"a{number}", inputs.attributes[name], planes, left.rows)
        for number, name in enumerate(sorted(inputs.attributes, key=lambda name: _place(inputs, name)))
    ]


def _place(inputs: Inputs, name: str) -> int:
    task = inputs.compared.tasks.get(name)
    if task is not None and task.verdict in ("brought back", "forgotten"):
        return 0
    return 1 if name == SOURCE else 2


def _pair(
    key: str, attribute: Attribute, planes: Mapping[str, EmbeddingMap], rows: npt.NDArray[np.int64]
) -> MapPair:
    labels = attribute.labels[rows]
    maps = [_drawn(kind, plane, labels, attribute.name) for kind, plane in planes.items()]
    legend = [(number, str(name), class_colour(number)) for number, name in enumerate(attribute.classes)]
    return MapPair(key, attribute.name, maps, legend)


def _drawn(
    kind: str, plane: EmbeddingMap, labels: npt.NDArray[np.int64] | None, attribute: str = ""
) -> Drawn:
    title = TITLES_OF_KINDS[kind]
    words = (
        "" if labels is None else f"{percent(like(plane, labels))} of neighbours have the same {attribute}"
    )
    said = f"Map of {len(plane.points)} test images by {plane.method} of the features of the {title} encoder"
    if labels is not None:
        said += f", coloured by {attribute}; {words}"
    trust = f", trustworthiness {plane.trust:.2f}" if plane.trust is not None else ""
    return Drawn(
        title,
        draw_map(plane.points, labels, f"{said}."),
        "; ".join(filter(None, (words, f"laid out by {plane.method}{trust}"))),
    )


def like(plane: EmbeddingMap, labels: npt.NDArray[np.int64]) -> float:
    """Share of the nearest images in the feature space that are of the image's own class."""
    return float((labels[plane.nearest] == labels[:, None]).mean())


def embed_in_plane(features: npt.NDArray[np.float32], seed: int) -> EmbeddingMap:
    """Lay standardised features (M, D) out in the plane: t-SNE, or PCA for very few images or no variation.

    Run on one thread, because sums over threads have no fixed order.
    """
    count = len(features)
    with threadpool_limits(1):
        scaled = StandardScaler().fit_transform(features.astype(np.float64))
        components = min(50, *scaled.shape)
        reduced = PCA(components, svd_solver="full").fit_transform(scaled)
        if count < LEAST_FOR_TSNE or not reduced[:, 0].any():  # t-SNE crashes on features all alike
            points, name = np.pad(reduced, ((0, 0), (0, 2)))[:, :2], "PCA"
        else:
            perplexity = min(30, count / 5)
            points = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(reduced)
            name = "t-SNE"
        enough = count > 2 * NEIGHBOURS
        trust = float(trustworthiness(scaled, points, n_neighbors=NEIGHBOURS)) if enough else None
        found = NearestNeighbors(n_neighbors=min(NEIGHBOURS, count - 1) or 1).fit(scaled)
        nearest = found.kneighbors(return_distance=False) if count > 1 else np.zeros((1, 1))
    return EmbeddingMap(points.astype(np.float64), nearest.astype(np.int64), name, trust)


def draw_map(
    points: npt.NDArray[np.float64], labels: npt.NDArray[np.int64] | None, description: str
) -> Markup:
    """Points (M, 2) as SVG: the dots of class k are one path of the CSS class `class-k`."""
    colour_of = np.zeros(len(points), dtype=np.int64) if labels is None else labels
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (SIDE - 2 * MARGIN) / (max(high - low) or 1)
    placed = (SIDE / 2 + scale * (points - (low + high) / 2)).round().astype(np.int64)
    dots = {  # lines of no length, which round ends make dots
        label: "".join(f"M{x} {y}h0" for x, y in placed[colour_of == label])
        for label in np.unique(colour_of).tolist()
    }
    paths = [
        f'<path class="class-{label}" stroke="{class_colour(label)}" d="{path}"/>'
        for label, path in dots.items()
    ]
    top, bottom = (int(end) for end in (placed[:, 1].min() - MARGIN, placed[:, 1].max() + MARGIN))
    return Markup(
        f'<svg class="dots" role="img" aria-label="{escape(description)}" '
        f'viewBox="0 {top} {SIDE} {bottom - top}">{"".join(paths)}</svg>'
    )


def class_colour(label: int) -> str:
    """The colour of a class; beyond ten they are hues by the golden angle, at three lightnesses."""
    if label < len(CLASS_COLOURS):
        return CLASS_COLOURS[label]
    return str(to_hex(hls_to_rgb(label * GOLDEN % 1, (0.4, 0.55, 0.7)[label % 3], 0.6)))
