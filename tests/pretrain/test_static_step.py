"""The step as a CUDA graph: static inputs change nothing, and what a graph repeats is the step itself."""

from __future__ import annotations

import itertools

import pytest
import torch

from infocl.prepared.reader import load_prepared
from infocl.pretrain import loop, step
from infocl.pretrain import training as stage
from infocl.pretrain.parallel.process_group import ALONE, ProcessGroup
from infocl.pretrain.step import StaticUpdate
from infocl.runtime.checkpoint import Progress
from infocl.runtime.errors import UserError
from infocl.runtime.history import History
from infocl.runtime.paths import PREPARED, PRETRAIN
from tests.pretrain.matrix import EACH
from tests.pretrain.pretended_cuda import pretended_cuda
from tests.workspace import tiny_params, write_prepared

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
OPTIMIZED = list(zip(EACH, itertools.cycle(["adam", "lars", "sgd", "adamw"]), strict=False))
OTHER_FORMS = [
    (
        ("barlow_twins", "rc"),
        "lars",
        {
            "objective__barlow_twins__correlation": "released",
            "reg__rc__decoder": "published",
            "train__batch_norm": "per_view",
            "train__optimizer__lr_placement": "outside",
            "size": 32,
        },
    ),
    (("supervised", "lbe"), "adam", {"objective__supervised__views": 1}),
    (("simclr", "lbe"), "adam", {"reg__lbe__critic": "pixels"}),
]


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Sets a run up on a device as pretraining does."""
    monkeypatch.chdir(tmp_path)

    def set_up(device, pair=("simclr", "lbe"), optimizer="adam", size=16, **changes):
        objective, reg = pair
        prepared = load_prepared(write_prepared(PREPARED, size=size))
        params = tiny_params(
            objective__name=objective,
            reg__name=reg,
            data__image_size=size,
            encoder__width=0.0625,
            train__optimizer__name=optimizer,
            **changes,
        )
        run = stage._set_up(params, prepared, PRETRAIN, ALONE, device)
        run.learner.train()
        return run

    return set_up


def value(tensor):
    return getattr(tensor, "value", tensor)


def course(run, steps):
    """The history's sums after each of these steps, and all weights and statistics after the last."""
    history, sums = History([]), []
    for number in steps:
        loop._step(run, history, number)
        sums.append({name: value(total).item() for name, total in history._sums.items()})
    return sums, {name: value(tensor).clone() for name, tensor in run.learner.state_dict().items()}


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    assert all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


@pytest.mark.parametrize(
    ("pair", "optimizer", "storage"),
    [(*chosen, "resident") for chosen in OPTIMIZED] + [(*OPTIMIZED[3], "mapped")],
)
def test_static_inputs_change_nothing_bit_for_bit(start, pair, optimizer, storage):
    ordinary, static = (start(CPU, pair, optimizer, train__storage=storage) for _ in range(2))
    static.update = StaticUpdate(static.update, capture=False)
    assert_same(course(static, range(4)), course(ordinary, range(4)))


@pytest.mark.parametrize(
    ("pair", "optimizer", "changes"), [(*chosen, {}) for chosen in OPTIMIZED] + OTHER_FORMS
)
def test_a_graph_repeats_the_step_bit_for_bit(start, monkeypatch, pair, optimizer, changes):
    """Whatever Python decides or computes anew in a step, such as a rate, would stay as it was recorded."""
    monkeypatch.setattr(step, "WARM_UP", 1)
    with pretended_cuda() as device:
        graphed, eager = (start(CUDA, pair, optimizer, **changes) for _ in range(2))
        eager.update.capture = False
        device.waits.clear()
        expected = course(eager, range(4))
        found = course(graphed, range(4))
        assert graphed.update._graph is not None
        assert not device.waits
    assert_same(found, expected)


def test_a_resumed_run_with_a_graph_is_the_same_bit_for_bit(start, monkeypatch):
    monkeypatch.setattr(step, "WARM_UP", 1)
    with pretended_cuda():
        whole, again = (start(CUDA, ("byol", "rc")) for _ in range(2))
        course(whole, range(3))
        whole.checkpoints.save(whole.learner, whole.optimizer, Progress(3, []))
        expected = course(whole, range(3, 6))
        assert again.checkpoints.load(again.learner, again.optimizer) == Progress(3, [])
        assert_same(course(again, range(3, 6)), expected)


def test_what_a_graph_cannot_hold_is_said_once_and_runs_without(start, monkeypatch, capsys):
    monkeypatch.setattr(step, "WARM_UP", 1)
    with pretended_cuda():
        waiting, eager = (start(CUDA) for _ in range(2))
        objective = waiting.learner.objective.forward
        monkeypatch.setattr(
            waiting.learner.objective,
            "forward",
            lambda batch: (objective(batch).value.item(), objective(batch))[1],
        )
        eager.update.capture = False
        found, expected = course(waiting, range(4)), course(eager, range(4))
    assert_same(found, expected)
    assert (
        capsys.readouterr().err.count("Training goes on without a CUDA graph (operation not permitted") == 1
    )


def test_a_graph_is_refused_where_there_can_be_none():
    train = tiny_params(train__cuda_graph=True).train
    with pytest.raises(UserError, match=r"train\.cuda_graph true needs a single CUDA device, not CPU"):
        stage.uses_graph(train, CPU, ALONE)
    with pytest.raises(UserError, match="not 2 processes"):
        stage.uses_graph(train, CUDA, ProcessGroup(0, 2))
    assert stage.uses_graph(train, CUDA, ALONE)
    assert not stage.uses_graph(tiny_params(train__cuda_graph=False).train, CUDA, ALONE)
    for device, group in ((CPU, ALONE), (CUDA, ProcessGroup(1, 2))):
        assert not stage.uses_graph(tiny_params().train, device, group)
