"""The plain encoder: the same training without regulariser, apart from the other one."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from infocl.pretrain import training as stage
from infocl.pretrain.plain import pretrain_plain
from infocl.runtime.files import read_json
from infocl.runtime.paths import CHECKPOINTS, PLAIN, PREPARED, PRETRAIN
from tests.pretrain.test_pretrain import same, train_and_kill
from tests.workspace import tiny_params, write_prepared


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared(PREPARED)


def test_the_plain_encoder_is_the_one_without_regulariser_whatever_the_regulariser():
    stage.pretrain(tiny_params(reg__name="none"))
    first = load_file(PRETRAIN / "encoder.safetensors")
    for weight in (1.0, 0.5):
        pretrain_plain(tiny_params(reg__name="rc", reg__weight=weight))
        plain = load_file(PLAIN / "encoder.safetensors")
        assert same(plain, first)
    configs = [read_json(folder / "config.json", "") for folder in (PLAIN, PRETRAIN)]
    assert [config["regularizer"] for config in configs] == ["none", "none"]
    assert {file.name for file in PLAIN.iterdir()} == {file.name for file in PRETRAIN.iterdir()}


def test_the_plain_training_resumes_by_its_own_checkpoint(monkeypatch, capsys):
    params = tiny_params(reg__weight=0.5)
    pretrain_plain(params)
    whole = load_file(PLAIN / "encoder.safetensors")
    for work in (stage.pretrain, pretrain_plain):
        train_and_kill(params, monkeypatch, at=4, work=work)
    assert len(list(CHECKPOINTS.glob("*/checkpoint.safetensors"))) == 2
    pretrain_plain(tiny_params(reg__weight=0.25))
    assert "Continuing from step 3" in capsys.readouterr().err
    assert same(load_file(PLAIN / "encoder.safetensors"), whole)
    assert len(list(CHECKPOINTS.glob("*/checkpoint.safetensors"))) == 1, "that of the regularised one is kept"


def test_a_plain_encoder_that_is_not_asked_for_is_not_trained():
    assert pretrain_plain(tiny_params(compare__plain=False)) == {"trained": False}
    assert [file.name for file in PLAIN.iterdir()] == ["not_trained.json"]
