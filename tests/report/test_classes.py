"""Class by class: confusions from the answers, and a page readable with few and with very many classes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import confusion_matrix

from infocl.evaluate.protocol import count_confusions
from infocl.evaluate.wilson import wilson95
from infocl.report.classes import _of_classes, matrix
from infocl.results.reading import Confusion
from infocl.runtime.files import read_json, write_json
from tests.report.test_build import build


def confused(classes, images=600):
    generator = np.random.default_rng(0)
    truth = generator.integers(0, classes, images)
    predicted = np.where(generator.random(images) < 0.7, truth, generator.integers(0, classes, images))
    known = np.arange(classes) * 3
    names = [f"kind {label}" for label in range(3 * classes)]
    return count_confusions(known, known[predicted], known[truth], names), truth, predicted


def test_confusions_are_those_of_scikit_learn():
    found, truth, predicted = confused(5)
    assert found["classes"][1] == "kind 3"
    counts = matrix(Confusion.model_validate(found))
    np.testing.assert_array_equal(counts, confusion_matrix(truth, predicted))


def test_few_classes_are_a_table_and_very_many_a_picture_with_the_worst_named():
    few = _of_classes("bolts", Confusion.model_validate(confused(8)[0]))
    assert len(few.shown) == len(few.table) == 8
    assert few.picture is None
    counts = matrix(Confusion.model_validate(confused(8)[0]))
    assert few.shown[2].ends == tuple(wilson95(int(counts[2, 2]), int(counts[2].sum())))
    assert few.table[2][2].text == str(counts[2, 2])
    many = _of_classes("bolts", Confusion.model_validate(confused(142)[0]))
    assert len(many.shown) == 20
    assert len(many.rest) == 142
    assert many.shown[0].share == min(row.share for row in many.rest)
    picture = Image.open(io.BytesIO(many.picture.png))
    assert picture.width == many.picture.width == 142 * 5
    assert len(many.confused) == 10


def test_the_page_shows_classes_and_curves_by_their_names(finished_project):
    details = Path("metrics/details")
    few = [{"labels": "1 a class", "images": 3, "accuracy": 0.4, "ci95": [0.3, 0.5]}]
    few.append({"labels": "10 %", "images": 6, "accuracy": 0.6, "ci95": None})
    probe = read_json(details / "probe.json", "")
    found = confused(3, 60)[0] | {"classes": ["zero", "<b>one</b>", "two"]}
    write_json(details / "probe.json", probe | {"confusion": found, "label_efficiency": few})
    compared = read_json(details / "compare.json", "")
    compared["source"]["plain_label_efficiency"] = few
    write_json(details / "compare.json", compared)
    meta = Path("data/prepared/meta.json")
    write_json(
        meta, read_json(meta, "") | {"rejected": {"tiny": 3}, "near_duplicates": 2, "lost_classes": ["owls"]}
    )
    page, _ = build()
    ids = [attributes.get("id") for attributes in page.all("section")]
    assert ids.index("classes") < ids.index("labels") < ids.index("training")
    assert page.text("th", "div").count("<b>one</b>") >= 2
    assert "40.0 (30.0 to 50.0) %" in page.text("td")
    assert "1 a class" in page.text("th")
    lost = "1 class left out for want of images of use: owls"
    assert f"3 tiny left out; {lost}; 2 test images nearly equal to a training image" in page.text("dd")
