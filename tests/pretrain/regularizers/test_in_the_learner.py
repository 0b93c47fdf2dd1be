"""Every regulariser beside a real encoder: what it leaves alone, and what it moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from infocl.encoder.views import Views
from infocl.pretrain.learner import Learner, untracked
from infocl.pretrain.regularizers import REGULARIZERS, regularizer_class
from tests.workspace import tiny_params

NOISY = [name for name in REGULARIZERS if name in ("noise", "lbe", "mib")]
TERMS = [name for name in REGULARIZERS if name not in ("none", "noise")]


def one_step(name, weight):
    """Loss, gradients of encoder and objective, and buffers after one forward and backward pass."""
    torch.manual_seed(0)
    params = tiny_params(reg__name=name, reg__weight=weight)
    learner = Learner(params, [0.5] * 3, [0.25] * 3)
    torch.manual_seed(1)
    images = torch.rand(2, 16, 3, 32, 32)
    plan = Views(params.views, 32).plan(images[0].permute(0, 2, 3, 1), 3)
    term = learner(*images, learner.draw(len(images[0]), torch.Generator().manual_seed(2)), plan=plan)
    term.value.backward()
    gradients = {
        key: weight.grad for key, weight in learner.named_parameters() if not key.startswith("regularizer.")
    }
    buffers = {key: value for key, value in learner.named_buffers() if not key.startswith("regularizer.")}
    return term, gradients, buffers


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_weight_zero_is_the_plain_objective_unless_the_forward_pass_differs(name):
    plain, given = one_step("none", 0.0), one_step(name, 0.0)
    changes = regularizer_class(name).changes_forward
    assert changes == (name in NOISY)
    assert torch.equal(plain[0].value, given[0].value) != changes
    assert same(plain[1], given[1]) != changes
    assert same(plain[2], given[2]), "running statistics are those of the views alone"


@pytest.mark.parametrize("name", NOISY)
def test_weight_zero_is_noise_only_where_there_is_noise(name):
    noise, given = one_step("noise", 0.0), one_step(name, 0.0)
    assert torch.equal(noise[0].value, given[0].value)
    assert same(noise[1], given[1])


@pytest.mark.parametrize("name", TERMS)
def test_the_term_moves_the_encoder(name):
    without, given = one_step(name, 0.0), one_step(name, 1.0)
    assert not same(without[1], given[1])
    assert all(gradient.isfinite().all() for gradient in given[1].values())
    assert all(value.ndim == 0 and not value.requires_grad for value in given[0].parts.values())


def test_untracked_layers_normalise_by_the_batch_and_remember_nothing():
    layer = nn.BatchNorm1d(3)
    frozen = nn.BatchNorm1d(3, track_running_stats=False)
    network = nn.Sequential(layer, frozen)
    inputs = torch.randn(8, 3) * 5 + 2
    expected = network(inputs)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert torch.equal(untracked(network, network, len(inputs))(inputs), expected)
    assert same(network.state_dict(), before)
    assert (layer.track_running_stats, frozen.track_running_stats) == (True, False)
    network(inputs)
    assert not same(network.state_dict(), before)
