"""The model card: read by people and by model hubs, with an example that runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from infocl.export.model_card import plain, render_card

EXPORT = Path("exports/encoder")


def about():
    return json.loads((EXPORT / "encoder.json").read_text())


def test_the_cards_example_runs_on_images_of_every_size(project):
    card = (EXPORT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert sum(bool(line) for line in code.splitlines()) == 8
    done = subprocess.run([sys.executable, "-c", code], cwd=EXPORT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [
        re.fullmatch(r"(.*), 3\) (\(\d+, 64\)) (\S+)", line).groups() for line in done.stdout.splitlines()
    ]
    sizes = ["(10, 16, 16", "(2, 33, 48", "(2, 48, 31", "(2, 15, 8", "(2, 48, 1"]
    assert [(images, shape) for images, shape, _ in rows] == [
        (size, "(10, 64)" if size == sizes[0] else "(2, 64)") for size in sizes
    ]
    assert all(float(error) < 1e-4 for *_, error in rows)


def test_the_card_is_read_by_hubs_and_says_the_figures(project):
    card = (EXPORT / "README.md").read_text()
    _, header, body = card.split("---\n", 2)
    assert YAML(typ="safe").load(header) == {
        "library_name": "onnx",
        "pipeline_tag": "image-feature-extraction",
        "tags": [
            "infocl",
            "contrastive-learning",
            "representation-learning",
            "onnxruntime",
            "simclr",
            "lbe",
            "resnet18",
            "scenes",
        ],
    }
    assert "| scenes (source) | 81.2 % | 76.9 to 84.7 % | 71.2 % | 35.0 % | 60 |" in body
    assert "| encoder's licence | for its publisher to choose" in body
    assert "| data's licence | BSD-3-Clause |" in body
    assert "| hue | 50.0 % | 45.7 to 53.5 % |" in body
    assert "digits and two photographs" in body
    assert "no finding about natural images" in body
    assert about()["git_revision"] in body


def test_a_card_without_labels_and_with_hostile_words(project):
    message = about()
    message["metrics"]["source"] = None
    message["data_licence"] = "mine | `x` <script>\n# all"
    card = render_card(message)
    assert "has no labels" in card
    assert "(source)" not in card
    assert "<script>" not in card
    assert "| data's licence | mine    x   script  # all |" in card


def test_plain_text_stays_in_its_table_cell():
    assert "\n" not in plain("a\nb|c")
    assert "|" not in plain("a\nb|c")
