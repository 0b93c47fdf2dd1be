"""Embedding maps of both encoders, coloured by what is known of the images."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from infocl.report.maps import draw_map, embed_in_plane, like
from infocl.runtime.files import read_json, write_json
from tests.report.page import build
from tests.tiny_run import CLASSES
from tests.workspace import write_set


def clusters(count, dim=16):
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 3
    features = generator.normal(size=(3, dim))[labels] * 20 + generator.normal(size=(count, dim))
    return features.astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize(("count", "method"), [(120, "t-SNE"), (30, "PCA")])
def test_like_images_lie_together(count, method):
    features, labels = clusters(count)
    plane = embed_in_plane(features, seed=0)
    assert plane.method == method
    distance = np.linalg.norm(plane.points[:, None] - plane.points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).all()
    assert 0.9 < plane.trust <= 1
    np.testing.assert_array_equal(embed_in_plane(features, seed=0).points, plane.points)


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (8, 2), (60, 3)])
def test_few_images_or_features_do_not_stop_the_page(shape):
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    plane = embed_in_plane(features, seed=0)
    assert plane.points.shape == (shape[0], 2)
    assert np.isfinite(plane.points).all()
    assert draw_map(plane.points, None, "a map").startswith("<svg")


def test_features_that_are_all_the_same_do_not_stop_the_page():
    plane = embed_in_plane(np.ones((60, 8), dtype=np.float32), seed=0)
    assert np.isfinite(plane.points).all()


def test_every_class_is_a_path_of_its_own_dots():
    features, labels = clusters(30)
    drawing = draw_map(embed_in_plane(features, seed=0).points, labels, "a map")
    paths = list(ET.fromstring(str(drawing)))
    assert [path.get("class") for path in paths] == ["class-0", "class-1", "class-2"]
    assert [len(re.findall(r"M-?\d+ -?\d+h0", path.get("d"))) for path in paths] == [10, 10, 10]
    x, y = np.array(re.findall(r"M(-?\d+) (-?\d+)h0", drawing), dtype=int).T
    assert (x.min(), y.min()) >= (0, 0)
    assert x.max() <= 480


def test_like_is_the_share_of_neighbours_of_the_own_class():
    features, labels = clusters(60)
    plane = embed_in_plane(features, seed=0)
    assert like(plane, labels) == 1.0
    scaled = (features - features.mean(0)) / features.std(0)
    other = np.arange(60) % 2
    same = 0
    for row in range(60):
        distance = ((scaled - scaled[row]) ** 2).sum(axis=1)
        distance[row] = np.inf
        same += sum(other[near] == other[row] for near in np.argsort(distance)[:10])
    assert like(plane, other) == pytest.approx(same / 600)


def test_each_attribute_of_the_test_images_colours_both_maps(project):
    """A target that is asked of the test images themselves is an attribute; one with other images is none."""
    data = read_json(Path("data/prepared/meta.json"), "")
    images, labels = (np.load(f"data/prepared/test/{name}.npy") for name in ("images", "labels"))
    for name, pictures in (("hue", images), ("photos", 255 - images)):
        parts = {"train": (pictures, labels), "test": (pictures, 2 - labels)}
        write_set(
            Path("data/targets") / name,
            parts,
            name=name,
            classes=["red", "green", "blue"],
            mean=[0.2] * 3,
            std=[0.3] * 3,
        )
    details = Path("metrics/details/transfer.json")
    rows = read_json(details, "")
    for name in ("hue", "photos"):
        rows[name]["test_images_sha256"] = read_json(Path("data/targets") / name / "meta.json", "")["splits"][
            "test"
        ]["images_sha256"]
    write_json(details, rows)
    compared = read_json(Path("metrics/details/compare.json"), "")
    compared["hue"]["verdict"] = "brought back"
    write_json(Path("metrics/details/compare.json"), compared)
    page, _ = build()
    assert data["classes"] == CLASSES
    assert page.text("summary").split("Coloured by ")[1].startswith("hue")
    assert "Coloured by class" in page.text("summary")
    assert "Coloured by photos" not in page.text("summary")
    names = [svg["aria-label"] for svg in page.all("svg") if svg.get("class") == "dots"]
    assert len(names) == 4
    assert re.fullmatch(
        r"Map of 60 test images by t-SNE .* plain encoder, coloured by hue; .* % of neighbours have .* hue\.",
        names[0],
    )
    assert "blue" in page.text("label")
