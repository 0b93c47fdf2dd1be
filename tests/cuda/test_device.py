"""What must hold on a GPU: played there by `make gpu`, and on the CPU by its dry run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from infocl.encoder.numerics import derive_seed
from infocl.evaluate.evaluation import run_probe
from infocl.export.exporter import export_encoder
from infocl.prepared.reader import load_prepared
from infocl.pretrain import loop
from infocl.pretrain import training as stage
from infocl.pretrain.loop import VIEWS
from infocl.pretrain.optim import build_optimizer
from infocl.pretrain.parallel.process_group import ALONE
from infocl.pretrain.training import pretrain
from infocl.runtime.checkpoint import Progress
from infocl.runtime.history import History
from infocl.runtime.paths import PREPARED, PRETRAIN
from tests import tiny_run
from tests.pretrain.matrix import EACH, build, pictures, plan_of
from tests.workspace import tiny_params, write_prepared

CPU = torch.device("cpu")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Sets a run up on a device as pretraining does."""
    monkeypatch.chdir(tmp_path)
    prepared = load_prepared(write_prepared(PREPARED))
    return lambda params, device: stage._set_up(params, prepared, PRETRAIN, ALONE, device)


def steps(run, numbers):
    """The loss of each of these steps."""
    run.learner.train()
    history = History([])
    with stage.tuned(run.device):
        for step in numbers:
            loop._step(run, history, step)
            history.close(step=step)
    return [row["loss"] for row in history.rows]


def test_the_seed_decides_order_and_views(start):
    params = tiny_params()
    runs = [start(params, device) for device in (CPU, DEVICE)]
    for step in (0, 5):
        images = [run.images.batch(step)[0] for run in runs]
        assert torch.equal(images[0], images[1].cpu())
        seed = derive_seed(params.seed, VIEWS, step)
        expected, found, again = (
            torch.cat(run.views(batch, seed))
            for run, batch in zip([*runs, runs[1]], [*images, images[1]], strict=True)
        )
        assert torch.equal(found, again)
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-4)


def test_the_seed_decides_the_noise(start):
    run = start(tiny_params(reg__name="lbe"), DEVICE)
    drawn = [run.learner.draw(32, torch.Generator(DEVICE).manual_seed(5)) for _ in range(2)]
    assert all(torch.equal(first, second) for first, second in zip(*drawn, strict=True))


def losses_in_float64(objective, reg, device):
    """Of three steps on a fixed batch, noise drawn on the CPU."""
    drawing, _ = build(objective, reg)
    learner, _ = build(objective, reg)
    learner.to(device)
    params = tiny_params(objective__name=objective, reg__name=reg, train__optimizer__lr=0.002)
    optimizer = build_optimizer(params.train.optimizer, learner.parameters())
    view1, view2, labels = (tensor.to(device) for tensor in pictures())
    losses = []
    for step in range(3):
        noise = drawing.draw(len(labels), torch.Generator().manual_seed(step))
        noise = tuple(tensor.to(device) for tensor in noise)
        loss = learner(view1, view2, noise, labels, plan_of(learner).to(device)).value
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        learner.follow(learner.pull(step, 40))
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("objective", "reg"), EACH)
def test_in_float64_losses_and_updates_are_those_of_the_cpu(objective, reg):
    expected = losses_in_float64(objective, reg, CPU)
    assert losses_in_float64(objective, reg, DEVICE) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "lars"])
def test_in_float32_a_run_follows_that_of_the_cpu(start, optimizer):
    params = tiny_params(reg__name="rc", train__precision="fp32", train__optimizer__name=optimizer)
    curves = [steps(start(params, device), range(6)) for device in (CPU, DEVICE)]
    assert curves[1] == pytest.approx(curves[0], rel=5e-3)


@pytest.mark.parametrize("optimizer", ["adam", "lars"])
def test_a_resumed_run_goes_on_where_it_stopped(start, optimizer):
    params = tiny_params(train__precision="fp32", train__optimizer__name=optimizer)
    whole, again = start(params, DEVICE), start(params, DEVICE)
    steps(whole, range(3))
    whole.checkpoints.save(whole.learner, whole.optimizer, Progress(3, []))
    steps(again, [0])
    assert again.checkpoints.load(again.learner, again.optimizer) == Progress(3, [])
    kept, loaded = whole.learner.state_dict(), again.learner.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in kept.items())
    assert steps(again, range(3, 6)) == pytest.approx(steps(whole, range(3, 6)), rel=1e-4)


def test_compiled_losses_are_the_eager_ones(start):
    kernels = DEVICE != CPU  # whose compiler of kernels takes minutes
    eager = steps(start(tiny_params(train__precision="fp32"), DEVICE), range(3))
    run = start(tiny_params(train__precision="fp32", train__compile=kernels), DEVICE)
    if not kernels:
        run.learner.compile(fullgraph=True, backend="aot_eager")
    compiled = steps(run, range(3))
    assert compiled == pytest.approx(eager, rel=5e-3)


def test_pretraining_the_probe_and_the_export_on_the_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    meta = tiny_run.write_prepared()
    params = tiny_run.tiny_params()
    train = params.train.model_copy(update={"epochs": 4, "batch_size": 16, "device": DEVICE.type})
    params = params.model_copy(update={"train": train})
    trained = pretrain(params)
    assert np.isfinite(trained["loss"])
    probed = run_probe(params)
    assert probed["accuracy"] > 0.5, "of three classes"
    tiny_run.write_metrics()
    tiny_run.write_results(meta)
    exported = export_encoder(params)
    assert exported["max_relative_error"] < 1e-5
    assert (tmp_path / "exports/encoder/encoder.onnx").exists()
