"""A training in the published forms, up to the encoder's files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from infocl.encoder.files import load_encoder
from infocl.pretrain import training as stage
from infocl.runtime.history import History
from infocl.runtime.paths import PREPARED, PRETRAIN
from tests.workspace import tiny_params, write_prepared

PUBLISHED = {
    "reg__name": "rc",
    "reg__rc__decoder": "published",
    "encoder__init": "torch",
    "encoder__normalization": "half",
    "train__batch_norm": "per_view",
    "train__precision": "fp32",
}


@pytest.mark.parametrize(
    ("changes", "views"),
    [
        ({"objective__name": "byol"}, 2),
        ({"objective__name": "supervised", "objective__supervised__views": 1}, 1),
    ],
)
def test_it_ends_with_an_encoder_that_normalises_as_it_was_trained(tmp_path, monkeypatch, changes, views):
    monkeypatch.chdir(tmp_path)
    write_prepared(PREPARED)  # whose own statistics are 0.2 and 0.3
    kept, write = [], History.write
    monkeypatch.setattr(History, "write", lambda self, path: kept.append(self.rows) or write(self, path))
    stage.pretrain(tiny_params(**PUBLISHED | changes, train__epochs=2))
    encoder, config = load_encoder(PRETRAIN)
    assert (config["mean"], config["std"]) == ([0.5] * 3, [0.5] * 3)
    image = torch.rand(1, 3, 32, 32)
    expected = encoder.forward_levels((image - 0.5) / 0.5).level4
    torch.testing.assert_close(encoder(image), expected)
    first, last = kept[0][0], kept[0][-1]
    assert first["regularizer"] == pytest.approx(views * first["regularizer_reconstruction_mse"], rel=1e-5)
    assert last["regularizer_reconstruction_mse"] < first["regularizer_reconstruction_mse"]
    assert len(np.load(PRETRAIN / "views.npy")) == 1 + 2 * views, "the images, and twice their views"
