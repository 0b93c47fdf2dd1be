"""The loop: learns, repeats itself, resumes bit for bit, stops when it must."""

from __future__ import annotations

import csv
import math
import re

import pytest
import torch
from safetensors.torch import load_file

from infocl.pretrain import loop
from infocl.pretrain import training as stage
from infocl.pretrain.fingerprint import ROOMS, fingerprint
from infocl.runtime.checkpoint import Checkpoints, Progress
from infocl.runtime.errors import UserError, guarded
from infocl.runtime.history import History
from infocl.runtime.paths import CHECKPOINTS, PREPARED, PRETRAIN
from tests.workspace import tiny_params, write_prepared

LR_100 = {"train__optimizer__lr": 100.0}


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared(PREPARED)
    return tmp_path


def weights():
    return load_file(PRETRAIN / "encoder.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows():
    with (PRETRAIN / "history.csv").open() as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


class KilledError(BaseException):
    """Stands for a kill in the middle of the loop."""


def train_and_kill(params, monkeypatch, at, work=stage.pretrain):
    """Pretrain until the step `at`, which is not taken."""
    step = loop._step

    def killed(run, history, number):
        if number == at:
            raise KilledError
        step(run, history, number)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", killed)
        with pytest.raises(KilledError):
            work(params)


def test_a_killed_run_ends_with_the_same_weights(workspace, monkeypatch):
    params = tiny_params(reg__name="rc", train__epochs=3)
    stage.pretrain(params)
    whole, whole_rows = weights(), rows()
    (PRETRAIN / "encoder.safetensors").unlink()

    train_and_kill(params, monkeypatch, at=7)
    assert list(CHECKPOINTS.glob("*/checkpoint.safetensors"))

    steps, step = [], loop._step
    with monkeypatch.context() as patch:
        patch.setattr(
            loop, "_step", lambda run, history, number: (steps.append(number), step(run, history, number))
        )
        stage.pretrain(params)
    assert steps == [6, 7, 8], "it continues from the last checkpoint, at the end of epoch 2"
    assert same(weights(), whole)
    unchanged = [name for name in whole_rows[0] if name != "images_per_second"]
    assert [[row[n] for n in unchanged] for row in rows()] == [
        [row[n] for n in unchanged] for row in whole_rows
    ]
    assert not list(CHECKPOINTS.iterdir()), "a complete run leaves no checkpoint"


def test_the_seed_decides(workspace):
    short = {"train__epochs": 1}
    stage.pretrain(tiny_params(**short))
    first = weights()
    stage.pretrain(tiny_params(**short))
    assert same(weights(), first)
    stage.pretrain(tiny_params(seed=1, **short))
    assert not same(weights(), first)


def test_it_learns(workspace):
    gentle = {"views__crop_scale": [0.6, 1.0], "views__jitter_p": 0.0, "views__grayscale_p": 0.0}
    params = tiny_params(reg__name="rc", train__epochs=12, train__optimizer__lr=0.003, **gentle)
    metrics = stage.pretrain(params)
    history = rows()
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["objective"] < history[0]["objective"] - 0.05
    for row in history:
        expected = row["objective"] + params.reg.weight * row["regularizer"]
        assert row["loss"] == pytest.approx(expected, abs=1e-5)
    assert metrics["loss"] == pytest.approx(history[-1]["loss"], abs=1e-6)
    assert metrics["steps"] == 36
    assert metrics["images_per_second"] > 0
    assert (PRETRAIN / "views.npy").exists()


def test_the_history_has_the_parts_of_the_term(workspace):
    params = tiny_params(reg__name="lbe", train__epochs=1)
    stage.pretrain(params)
    for row in rows():
        assert row["regularizer_mi_ceiling_nats"] == pytest.approx(math.log(2 * params.train.batch_size))
        assert 0 < row["regularizer_mi_bound_nats"] <= row["regularizer_mi_ceiling_nats"]
        assert row["regularizer_mi_bound_nats"] == pytest.approx(-row["regularizer"])
        assert row["regularizer_feature_norm"] > 0


def refused(params, capsys):
    """The one line with which training ends, by exit code 1."""
    capsys.readouterr()
    assert guarded(lambda: stage.pretrain(params)) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("infocl:")]
    return line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reg__name": "rc", "train__optimizer__name": "sgd", **LR_100},
            r"loss.* stopped being finite by step \d+; .* kept\. Lower train\.optimizer\.lr \(100 now\)",
        ),
        (
            {
                "objective__name": "supervised",
                "train__optimizer__name": "lars",
                **LR_100,
            },
            r"the loss diverged from \S+ to \S+ by step \d+; .* kept\. Lower train\.optimizer\.lr \(100 ",
        ),
        (
            {
                "reg__name": "rc",
                "reg__weight": 1e5,
                "train__optimizer__name": "sgd",
                "train__optimizer__lr": 0.1,
            },
            r"loss.*; .* kept\. Lower reg\.weight \(100000 now\)",
        ),
    ],
)
def test_divergence_stops_the_run_and_keeps_the_last_checkpoint_and_result(
    workspace, capsys, changes, message
):
    stage.pretrain(tiny_params(train__epochs=1))
    before = weights()
    assert re.search(message, refused(tiny_params(train__epochs=30, **changes), capsys))
    assert same(weights(), before)
    for path in CHECKPOINTS.glob("*/checkpoint.safetensors"):
        assert all(value.isfinite().all() for value in load_file(path).values())


def test_a_damaged_checkpoint_is_set_aside_and_the_run_ends_as_if_never_killed(
    workspace, monkeypatch, capsys
):
    params = tiny_params()
    stage.pretrain(params)
    whole = weights()
    train_and_kill(params, monkeypatch, at=4)
    (path,) = CHECKPOINTS.glob("*/checkpoint.safetensors")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    stage.pretrain(params)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "cannot be used" in line]
    assert str(path) in line
    assert "does not match its SHA-256" in line
    assert "training starts from the beginning" in line
    assert same(weights(), whole)


def test_a_checkpoint_that_does_not_fit_the_model_is_set_aside(tmp_path, capsys):
    small, large = torch.nn.Linear(2, 2), torch.nn.Linear(2, 3)
    before = {name: value.clone() for name, value in large.state_dict().items()}
    checkpoints = Checkpoints(tmp_path, "0" * 64)
    checkpoints.save(small, torch.optim.SGD(small.parameters()), Progress(1, []))
    assert checkpoints.load(large, torch.optim.SGD(large.parameters())) is None
    assert "bias does not fit the model" in capsys.readouterr().err
    assert same(large.state_dict(), before)


def test_half_a_checkpoint_is_set_aside(tmp_path, capsys):
    model = torch.nn.Linear(2, 2)
    checkpoints = Checkpoints(tmp_path, "0" * 64)
    checkpoints.save(model, torch.optim.SGD(model.parameters()), Progress(1, []))
    (path,) = tmp_path.rglob("checkpoint.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoints.load(model, torch.optim.SGD(model.parameters())) is None
    assert "header" in capsys.readouterr().err


def test_the_code_is_part_of_the_fingerprint(monkeypatch):
    base = fingerprint(tiny_params(), {})
    assert fingerprint(tiny_params(), {}) == base
    monkeypatch.setattr("infocl.pretrain.fingerprint.ROOMS", ROOMS[:-1])
    assert fingerprint(tiny_params(), {}) != base


def test_data_that_no_probe_can_judge_are_refused_before_training(workspace):
    write_prepared(PREPARED, train=96, test=7)
    with pytest.raises(UserError, match="7 test images, but the diagnostics need at least 8"):
        stage.pretrain(tiny_params())


def test_a_checkpoint_of_other_params_is_neither_used_nor_lost(workspace, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(stage, "_write", lambda *_: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            stage.pretrain(tiny_params())
    (kept,) = CHECKPOINTS.glob("*/checkpoint.safetensors")
    stage.pretrain(tiny_params(reg__weight=0.5))
    assert re.search(rf"left 1 checkpoint: {kept.parent} \(0\.0 days old, \d.* MB\)", capsys.readouterr().err)
    other = weights()
    assert kept.exists()
    kept.parent.rename(workspace / "aside")
    stage.pretrain(tiny_params(reg__weight=0.5))
    assert same(weights(), other)


def test_the_fingerprint_sees_what_shapes_the_weights_and_nothing_else():
    base = fingerprint(tiny_params(), {"images": "x"})
    for change in (
        {"seed": 1},
        {"views__hue": 0.1},
        {"encoder__width": 0.25},
        {"objective__simclr__temperature": 0.1},
        {"reg__weight": 0.5},
        {"reg__lbe__sigma": 0.2},
        {"train__epochs": 3},
        {"train__precision": "fp32"},
        {"train__shuffle": "shards"},
        {"train__optimizer__weight_decay": 0.1},
        {"train__optimizer__name": "lars"},
    ):
        assert fingerprint(tiny_params(**change), {"images": "x"}) != base, change
    for change in (
        {"reg__rc__channels": 32},
        {"transfer__targets": ["hue"]},
        {"probe__knn_k": 3},
        {"train__device": "cpu"},
        {"train__devices": 2},
        {"train__checkpoint_minutes": 1.0},
        {"train__storage": "mapped"},
        {"train__shards": "s3://bucket/prefix"},
        {"train__optimizer__momentum": 0.5},
        {"train__optimizer__trust_coefficient": 0.5},
    ):
        assert fingerprint(tiny_params(**change), {"images": "x"}) == base, change
    assert fingerprint(tiny_params(), {"images": "y"}) != base
    lars = {"train__optimizer__name": "lars"}
    for knob in ("momentum", "trust_coefficient"):
        change = lars | {f"train__optimizer__{knob}": 0.5}
        assert fingerprint(tiny_params(**change), {}) != fingerprint(tiny_params(**lars), {}), knob


def test_wrong_inputs_are_named(workspace):
    with pytest.raises(UserError, match=r"train\.device is cuda:9.*set train.device to auto or cpu"):
        stage.pretrain(tiny_params(train__device="cuda:9"))
    with pytest.raises(UserError, match=r"prepared with data\.image_size 32, but params\.yaml asks for 16"):
        stage.pretrain(tiny_params(data__image_size=16))
    with pytest.raises(
        UserError, match=r"train\.batch_size 200 is larger than the data set scenes \(96 images\)"
    ):
        stage.pretrain(tiny_params(train__batch_size=200, data__scenes__train_images=300))
    (PREPARED / "train/images.npy").unlink()
    with pytest.raises(UserError, match=r"images\.npy.*dvc repro prepare"):
        stage.pretrain(tiny_params())


def test_history_averages_over_its_window():
    history = History([])
    for value in (1.0, 2.0, 6.0):
        history.add({"loss": torch.tensor(value)}, images=4)
    row = history.close(step=3)
    assert row["loss"] == 3
    history.add({"loss": torch.tensor(5.0)}, images=4)
    assert history.close(step=4)["loss"] == 5
