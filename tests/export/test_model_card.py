"""The model card: read by people and by model hubs, with an example that runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from ruamel.yaml import YAML

from infocl.export.model_card import plain, render_card

EXPORT = Path("exports/encoder")


def about():
    return json.loads((EXPORT / "encoder.json").read_text())


def test_the_cards_example_runs_on_images_of_every_size(project):
    card = (EXPORT / "README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
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


def test_hugging_faces_library_reads_the_header_and_all_figures(project):
    card = ModelCard.load(EXPORT / "README.md")
    names = ["simclr", "lbe", "resnet18", "scenes"]
    assert (card.data.library_name, card.data.license) == ("onnx", "unknown")
    assert card.data.pipeline_tag == "image-feature-extraction"
    assert card.data.tags[-4:] == names
    assert card.data.datasets == ["scenes"]
    header = YAML(typ="safe").load(card.content.split("---\n")[1])
    assert card.data.to_dict() == header  # nothing was dropped or rewritten
    name, results = model_index_to_eval_results(header["model-index"])
    assert name == "infocl-simclr-lbe-resnet18-scenes"
    rows = {"scenes (source)": about()["metrics"]["source"], **about()["metrics"]["transfer"]}
    probes = [result for result in results if result.metric_args]
    assert [result.dataset_name for result in probes] == list(rows)
    assert [result.dataset_type for result in probes] == ["scenes", *list(rows)[1:]]
    for result, row in zip(probes, rows.values(), strict=True):
        low, high = row["accuracy_ci95"]
        assert (result.metric_type, result.metric_value) == ("accuracy", row["accuracy"])
        assert result.metric_args == {"ci95_low": low, "ci95_high": high, "test_images": row["test_images"]}
    assert probes[0].metric_name == "Linear probe (95 % interval 76.9 to 84.7 %)"
    near = [result.metric_value for result in results if result.metric_name == "Nearest neighbours"]
    assert near == [row["knn_accuracy"] for row in rows.values()]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("Mine-1.0", {"license": "other", "license_name": "mine-1.0"}),
    ],
)
def test_the_publishers_licence_is_in_the_header_and_the_card(project, licence, expected):
    card = render_card(about() | {"licence": licence})
    found = ModelCard(card).data.to_dict()
    assert {key: found[key] for key in found if key.startswith("license")} == expected
    assert f"| encoder's licence | {licence};" in card


def test_the_card_says_the_figures(project):
    body = (EXPORT / "README.md").read_text()
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
