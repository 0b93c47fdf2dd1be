"""What the objective and the loop are given: noise, precision, batches and draws of their own."""

from __future__ import annotations

import pytest
import torch

from infocl.pretrain import loop
from infocl.pretrain import training as stage
from infocl.pretrain.batch import LossTerm
from infocl.pretrain.learner import Learner
from infocl.runtime.paths import CHECKPOINTS, PREPARED
from tests.workspace import tiny_params, write_prepared


def test_the_objective_sees_the_noise_and_the_probe_does_not():
    learner, seen = Learner(tiny_params(reg__name="lbe"), [0.5] * 3, [0.25] * 3), []

    def record(batch):
        seen.append(batch)
        return LossTerm(batch.view1.features.sum())

    learner.objective.forward = record
    learner(*torch.rand(2, 400, 3, 32, 32), learner.draw(400, torch.Generator().manual_seed(0)))
    for view in (seen[0].view1, seen[0].view2):
        noise = (view.features - view.clean.level4).detach()
        assert noise.std().item() == pytest.approx(0.1, rel=0.05)
        assert abs(noise.mean().item()) < 0.005


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_convolutions_compute_in_the_asked_precision(tmp_path, monkeypatch, precision, dtype):
    monkeypatch.chdir(tmp_path)
    write_prepared(PREPARED)
    seen, build = set(), stage.Learner

    def hooked(*args):
        learner = build(*args)
        learner.encoder.stem[0].register_forward_hook(lambda _m, _i, output: seen.add(output.dtype))
        return learner

    monkeypatch.setattr(stage, "Learner", hooked)
    monkeypatch.setattr(stage, "_write", lambda run, history: None)
    stage.pretrain(tiny_params(train__precision=precision, train__epochs=1))
    assert seen == {dtype}


def test_every_step_has_draws_of_its_own_and_the_rate_it_logs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared(PREPARED)
    views, noises, rates, step = [], [], [], loop._step

    def recording(run, history, number):
        draw, drawn = run.views.plan, run.learner.draw
        monkeypatch.setattr(run.views, "plan", lambda i, seed, *p: views.append(seed) or draw(i, seed, *p))
        monkeypatch.setattr(
            run.learner,
            "draw",
            lambda images, generator: noises.append(generator.initial_seed()) or drawn(images, generator),
        )
        step(run, history, number)
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(loop, "_step", recording)
        rates.append((run.optimizer.param_groups[0]["lr"], loop._rate(run, number)))

    monkeypatch.setattr(loop, "_step", recording)
    stage.pretrain(tiny_params(train__epochs=2))
    assert len(set(views)) == len(set(noises)) == len(views) == 6
    assert not set(views) & set(noises)
    assert all(used == planned for used, planned in rates)
    assert rates[0][0] > rates[-1][0]


def test_a_checkpoint_is_written_when_it_is_due_not_only_at_an_epochs_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_prepared(PREPARED)
    saved, save = [], loop.Checkpoints.save

    def recording(self, model, optimizer, progress):
        saved.append(progress.step)
        save(self, model, optimizer, progress)

    monkeypatch.setattr(loop.Checkpoints, "save", recording)
    stage.pretrain(tiny_params(train__epochs=1, train__checkpoint_minutes=1e-9))
    assert saved == [1, 2, 3]
    assert not any((tmp_path / CHECKPOINTS).iterdir())
