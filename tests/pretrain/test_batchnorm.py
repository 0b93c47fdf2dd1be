"""`train.batch_norm: per_view`: each view is normalised as if it passed the networks alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tests.pretrain.matrix import build, loss_of, pictures


def passed_alone(network, views):
    """Each view through a copy of a network, one after the other, and the copy's buffers after both."""
    alone = copy.deepcopy(network)
    for layer in alone.modules():
        if isinstance(layer, _BatchNorm):
            layer.views = 1
    return torch.cat([alone(view) for view in views]), dict(alone.named_buffers())


def recorded(module):
    """What goes into a module and what comes out, of its next call that has the rows of both views."""
    seen = []
    module.register_forward_hook(lambda _module, given, out: seen.append((given[0].detach(), out.detach())))
    return seen


@pytest.mark.parametrize("reg", ["rc", "mixed"])
def test_every_layer_sees_each_view_as_if_it_came_alone(reg):
    learner, _ = build("byol", reg, train__batch_norm="per_view")
    networks = [learner.objective.projector, learner.objective.predictor, learner.objective.target_projector]
    networks += [learner.regularizer.decoder] if reg == "rc" else []
    before, seen = [copy.deepcopy(network) for network in networks], [recorded(n) for n in networks]
    encoder = copy.deepcopy(learner.encoder)
    loss_of(learner, 0)
    for network, fresh, calls in zip(networks, before, seen, strict=True):
        inputs, outputs = calls[0]
        expected, buffers = passed_alone(fresh, inputs.chunk(2))
        torch.testing.assert_close(outputs, expected, rtol=1e-12, atol=1e-12)
        for name, value in network.named_buffers():
            torch.testing.assert_close(value, buffers[name], rtol=1e-12, atol=1e-12, msg=name)
    _, buffers = passed_alone(encoder, pictures()[:2])
    for name, value in learner.encoder.named_buffers():
        torch.testing.assert_close(value, buffers[name], rtol=1e-12, atol=1e-12, msg=name)


def test_a_further_batch_of_one_view_is_normalised_as_a_whole():
    learner, _ = build("barlow_twins", "mixed", train__batch_norm="per_view")
    calls, fresh = recorded(learner.objective.projector), copy.deepcopy(learner.objective.projector)
    loss_of(learner, 0)
    inputs, outputs = calls[-2]  # the mixed images come before the views that the term compares them with
    assert len(inputs) == len(pictures()[0])
    torch.testing.assert_close(outputs, passed_alone(fresh, [inputs])[0], rtol=1e-12, atol=1e-12)


def test_in_evaluation_nothing_differs():
    split, _ = build("simclr", "none", train__batch_norm="per_view")
    plain, _ = build("simclr", "none")
    images = pictures()[0]
    assert torch.equal(split.encoder.eval()(images), plain.encoder.eval()(images))
    assert split.state_dict().keys() == plain.state_dict().keys()
