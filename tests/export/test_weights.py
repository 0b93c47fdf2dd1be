"""`encoder.safetensors` in torchvision and timm, loaded by the lines that the card gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from infocl.encoder.network import Encoder
from infocl.export.weights import write_weights
from infocl.runtime.text import file_size
from tests.tiny_run import tiny_params

EXPORT = Path("exports/encoder")
MEAN, STD = [0.3, 0.6, 0.1], [0.2, 0.3, 0.1]


def make_encoder(arch, stem, width):
    torch.manual_seed(0)
    values = {"arch": arch, "stem": stem, "width": width}
    encoder = Encoder(tiny_params().encoder.model_copy(update=values), MEAN, STD)
    with torch.no_grad():
        encoder(torch.rand(4, 3, 32, 32))  # running statistics that are not the initial ones
    return encoder.eval()


@pytest.mark.parametrize(
    ("arch", "stem", "width", "libraries"),
    [
        ("resnet18", "imagenet", 1.0, ["timm", "torchvision"]),
        ("resnet34", "stl", 1.0, ["timm", "torchvision"]),
        ("resnet50", "cifar", 1.0, ["timm", "torchvision"]),
        ("resnet18", "stl", 0.25, ["timm"]),
        ("resnet34", "cifar", 0.0625, ["timm"]),
        ("resnet50", "imagenet", 0.5, ["timm"]),
    ],
)
def test_the_lines_load_it_and_features_are_equal(tmp_path, monkeypatch, arch, stem, width, libraries):
    monkeypatch.chdir(tmp_path)
    encoder = make_encoder(arch, stem, width)
    about = write_weights(tmp_path, encoder)
    assert list(about["loads_in"]) == libraries
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = encoder(images)
        for lines in about["loads_in"].values():
            assert len(lines) <= 4  # an import, and three
            scope = {"torch": torch}
            exec("\n".join(["from safetensors.torch import load_file", *lines]), scope)
            found = scope["model"].eval()(encoder.normalize(images))
            assert torch.linalg.norm(found - expected) < 1e-5 * torch.linalg.norm(expected)


def test_the_card_loads_it_and_repeats_the_example(project, monkeypatch):
    monkeypatch.chdir(EXPORT)
    code = re.findall(r"```python\n(# .*?)```", Path("README.md").read_text(), re.DOTALL)
    assert [block.splitlines()[0] for block in code] == ["# timm"]
    scope = {}
    exec(code[0], scope)
    found, expected = scope["embeddings"].detach().numpy(), np.load("example.npz")["embeddings"]
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_what_no_library_holds_is_refused_in_one_line_each(tmp_path):
    about = write_weights(tmp_path, make_encoder("resnet18", "stl", 0.14))
    assert about["loads_in"] == {}
    assert about["not_in"] == {
        "timm": "its ResNets begin with an even number of channels, this encoder with 9",
        "torchvision": "its ResNets have levels of (64, 128, 256, 512) channels, "
        "this encoder of (9, 18, 36, 72)",
    }


def test_the_file_says_how_images_are_normalised_and_the_card_its_size(project):
    about = json.loads((EXPORT / "encoder.json").read_text())
    with safe_open(EXPORT / "encoder.safetensors", "pt") as stored:
        message = json.loads(stored.metadata()["infocl"])
        assert "fc.weight" not in stored.keys()  # noqa: SIM118 - not a mapping
    assert message == about["encoder"] | {"mean": about["mean"], "std": about["std"]}
    size = (EXPORT / "encoder.safetensors").stat().st_size
    assert about["weights"]["bytes"] == size
    card = (EXPORT / "README.md").read_text()
    assert f"`encoder.safetensors` ({file_size(size)}, float32" in card
    assert "It does not load in torchvision: its ResNets have levels of (64, 128, 256, 512) channels" in card
