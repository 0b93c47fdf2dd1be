"""Every objective beside every regulariser: learns, resumes, and is the plain objective at weight 0."""

from __future__ import annotations

import math

import pytest
import torch

from infocl.pretrain.regularizers import regularizer_class
from infocl.runtime.checkpoint import Checkpoints, Progress
from tests.pretrain.golden import curves
from tests.pretrain.matrix import CASES, PARTS, build, loss_of, train


@pytest.mark.parametrize(("objective", "reg", "changes"), CASES)
def test_a_few_steps_are_finite_and_learn(objective, reg, changes):
    learner, optimizer = build(objective, reg, **changes)
    before = {name: weight.clone() for name, weight in learner.encoder.named_parameters()}
    first = loss_of(learner, 0)
    assert all(math.isfinite(loss) for loss in train(learner, optimizer, range(12)))
    last = loss_of(learner, 0)
    fell = last.value < first.value or last.parts["objective"] < first.parts["objective"]
    assert fell, "neither the loss nor the objective alone went down"
    assert all(not torch.equal(before[name], w) for name, w in learner.encoder.named_parameters())


NOT_A_SLOPE = ("simsiam+none", "simclr+mveb")  # their gradient is by design not that of the value


@pytest.mark.parametrize("name", [name for name in curves.NAMES if name not in NOT_A_SLOPE])
def test_the_gradient_is_the_slope_of_the_loss(name):
    """From the pixels through encoder, noise, heads and term, along a random direction of all weights."""
    learner, _ = build(*name.split("+"))
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    generator = torch.Generator().manual_seed(0)
    direction = [
        torch.randn(weight.shape, generator=generator, dtype=weight.dtype) * (1e-3 + weight.detach().abs())
        for weight in weights
    ]
    gradient = torch.autograd.grad(loss_of(learner, 0).value, weights, allow_unused=True)
    expected = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True) if g is not None)
    values = []
    with torch.no_grad():
        for step in (1e-8, -2e-8):
            torch._foreach_add_(weights, direction, alpha=step)
            values.append(loss_of(learner, 0).value)
    assert ((values[0] - values[1]) / 2e-8).item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize(("objective", "reg", "changes"), PARTS)
def test_the_whole_loss_is_one_graph_with_the_same_value_and_gradients(objective, reg, changes):
    """`fullgraph` raises where Python must run in between; only the compiler of kernels is left out."""
    losses, gradients = [], []
    for compiled in (False, True):
        learner, _ = build(objective, reg, **changes)
        if compiled:
            torch._dynamo.reset()
            whole = (objective, changes) == ("byol", {})  # through the gradients as well, once
            learner.compile(fullgraph=True, backend="aot_eager" if whole else "eager")
        loss = loss_of(learner, 0).value
        loss.backward()
        losses.append(loss.item())
        gradients.append([weight.grad for weight in learner.parameters() if weight.grad is not None])
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    for plain, traced in zip(*gradients, strict=True):
        torch.testing.assert_close(traced, plain, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("objective", "reg", "changes"), PARTS)
def test_a_resumed_run_is_the_same_bit_for_bit(objective, reg, changes, tmp_path):
    whole, optimizer = build(objective, reg, **changes)
    train(whole, optimizer, range(3))
    checkpoints = Checkpoints(tmp_path, "0" * 64)
    checkpoints.save(whole, optimizer, Progress(3, []))
    expected = train(whole, optimizer, range(3, 5))
    again, other = build(objective, reg, seed=7, **changes)
    assert checkpoints.load(again, other) == Progress(3, [])
    assert train(again, other, range(3, 5)) == expected
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize(("objective", "reg", "changes"), [case for case in CASES if case[1] != "none"])
def test_weight_zero_is_the_plain_objective_where_the_forward_pass_is_the_same(objective, reg, changes):
    plain = train(*build(objective, "none", 0, **changes), range(2))
    given = train(*build(objective, reg, 0, **changes), range(2))
    assert (given == plain) != regularizer_class(reg).changes_forward


@pytest.mark.parametrize("objective", ["byol", "mocov3"])
def test_a_momentum_target_follows_by_the_schedule_and_gets_no_gradient(objective):
    start, changes = 0.7, {f"objective__{objective}__momentum": 0.7}
    learner, optimizer = build(objective, "none", **changes)
    fresh, _ = build(objective, "none", **changes)
    train(learner, optimizer, [4], total=10)
    share = 1 - (1 - start) * (math.cos(math.pi * 0.4) + 1) / 2
    now, then = dict(learner.named_parameters()), dict(fresh.named_parameters())
    for online, target in [("encoder", "target"), ("objective.projector", "objective.target_projector")]:
        names = [name for name in now if name.startswith(f"{target}.")]
        assert names
        for name in names:
            expected = share * then[name] + (1 - share) * now[online + name.removeprefix(target)]
            torch.testing.assert_close(now[name], expected, rtol=1e-10, atol=1e-12)
            assert now[name].grad is None
    assert learner.target.stem[1].running_mean.any(), "its statistics follow, too"


@pytest.mark.parametrize("name", curves.NAMES)
def test_the_first_twenty_losses_are_the_kept_ones(name):
    """In float64 machines agree far below 1e-6; a changed loss, view of the batch or update does not."""
    kept = curves.read()
    assert name in kept, f"no curve of {name}: `python -m tests.pretrain.golden.curves`, then look"
    assert curves.compute(name) == pytest.approx(kept[name], rel=1e-6)


def test_no_kept_curve_is_left_over():
    assert set(curves.read()) == set(curves.NAMES)
