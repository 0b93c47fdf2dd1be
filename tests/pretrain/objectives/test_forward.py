"""Each objective as a whole: its forward pass against the loops, who sees what, heads and gradients."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from infocl.encoder.network import Levels
from infocl.pretrain.batch import Batch, View
from infocl.pretrain.objectives import OBJECTIVES, build_objective
from tests.pretrain import oracles
from tests.pretrain import oracles_objectives as loops
from tests.workspace import tiny_params

COUNT, DIM, CLASSES = 6, 8, 3
MOMENTUM = ("byol", "mocov3")


def build(name, dim=DIM, **block):
    """An objective in float64 with small heads, and a target unlike the online projector."""
    heads = {} if name == "supervised" else {"projector_out": 4}
    heads |= {"predictor_hidden": 3} if name in ("byol", "simsiam", "mocov3") else {}
    changes = {f"objective__{name}__{key}": value for key, value in (heads | block).items()}
    torch.manual_seed(0)
    objective = build_objective(tiny_params(objective__name=name, **changes).objective, dim, CLASSES).double()
    for _, target in objective.target_modules().values():
        for weight in target.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    return objective


def view(seed, count=COUNT):
    """Clean features, noisy ones and a target's, all different."""
    generator = torch.Generator().manual_seed(seed)
    clean, noisy, target = torch.randn(3, count, DIM, generator=generator, dtype=torch.float64)
    pixels = torch.randn(count, 3, 4, 4, generator=generator, dtype=torch.float64)
    return View(pixels, Levels(clean, clean, clean), Levels(noisy, noisy, noisy), target)


def batch(count=COUNT):
    return Batch(view(1, count), view(2, count), torch.arange(count) % CLASSES)


def run(network, first, second):
    """Both views through a copy of a network as one batch, halves as arrays."""
    with torch.no_grad():
        both = copy.deepcopy(network)(torch.cat([first, second]))
    return (half.numpy() for half in both.chunk(2))


def expected(name, o, b):
    """The loss that the loops give on the embeddings of the objective's own networks."""
    z1, z2 = run(o.projector, b.view1.features, b.view2.features)
    if hasattr(o, "predictor"):
        p1, p2 = run(nn.Sequential(o.projector, o.predictor), b.view1.features, b.view2.features)
    if name in MOMENTUM:
        t1, t2 = run(o.target_projector, b.view1.target, b.view2.target)
    if name == "simclr":
        return oracles.nt_xent(z1, z2, 0.5)
    if name == "dcl":
        return loops.decoupled_nt_xent(z1, z2, 0.1)
    if name == "spectral":
        return loops.spectral(*(z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2)))
    if name == "barlow_twins":
        return loops.barlow_twins(z1, z2, 0.01, 1e-5)
    if name == "vicreg":
        invariance = sum(((a - b) ** 2).sum() for a, b in zip(z1, z2, strict=True)) / z1.size
        hinges = loops.variance_hinge(z1, 1e-4) + loops.variance_hinge(z2, 1e-4)
        return 25 * invariance + 12.5 * hinges + loops.covariance_penalty(z1) + loops.covariance_penalty(z2)
    if name == "byol":
        return loops.byol(p1, p2, t1, t2)
    if name == "simsiam":
        return loops.simsiam(p1, p2, z1, z2)
    if name == "mocov3":
        return loops.moco(p1, t2, 0.2) + loops.moco(p2, t1, 0.2)
    logits = [*run(o.classifier, b.view1.features, b.view2.features)]
    return loops.cross_entropy(np.concatenate(logits), b.labels.tolist() * 2, 0.0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_forward_pass_is_the_loops_on_the_objectives_own_heads(name):
    objective, given = build(name), batch()
    term = objective(given)
    assert term.value.item() == pytest.approx(expected(name, objective, given), rel=1e-9)
    assert all(part.ndim == 0 and not part.requires_grad for part in term.parts.values())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_exchanged_views_and_reordered_images_give_the_same(name):
    objective, given = build(name), batch()
    loss = objective(given).value
    swapped = Batch(given.view2, given.view1, given.labels)
    torch.testing.assert_close(objective(swapped).value, loss, rtol=1e-10, atol=1e-12)
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(3))
    moved = Batch(*(reordered(v, order) for v in (given.view1, given.view2)), given.labels[order])
    torch.testing.assert_close(objective(moved).value, loss, rtol=1e-10, atol=1e-12)


def reordered(v, order):
    return View(
        v.pixels[order],
        Levels(*(x[order] for x in v.clean)),
        Levels(*(x[order] for x in v.levels)),
        v.target[order],
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_only_the_control_sees_labels_and_none_the_clean_features_or_pixels(name):
    objective, given = build(name), batch()
    loss = objective(given).value
    other = replace(given, labels=(given.labels + 1) % CLASSES)
    assert torch.equal(objective(other).value, loss) != objective.needs_labels
    v = given.view1
    unlike = replace(v, pixels=v.pixels + 1, clean=Levels(*(x + 1 for x in v.clean)))
    assert torch.equal(objective(replace(given, view1=unlike)).value, loss)
    without = replace(given, labels=None)
    if objective.needs_labels:
        with pytest.raises(ValueError, match="needs labels"):
            objective(without)
    else:
        assert torch.equal(objective(without).value, loss)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("count", [2, COUNT])
def test_gradient_of_the_forward_pass(name, count):
    """By central differences of both views' features; SimSiam's with the embeddings it predicts held."""
    objective, given = build(name), batch(count)
    features = torch.cat([given.view1.features, given.view2.features]).requires_grad_()

    def loss(x):
        halves = [Levels(half, half, half) for half in x.chunk(2)]
        views = [replace(v, levels=h) for v, h in zip((given.view1, given.view2), halves, strict=True)]
        return objective(Batch(*views, given.labels)).value

    if name != "simsiam":
        assert torch.autograd.gradcheck(loss, (features,))
        return
    held = torch.cat(objective.projector(features.detach()).chunk(2)[::-1])

    def with_targets_held(x):
        return -nn.functional.cosine_similarity(objective.predictor(objective.projector(x)), held).mean()

    assert torch.autograd.gradcheck(with_targets_held, (features,))
    (ours,) = torch.autograd.grad(loss(features), features)
    (numeric,) = torch.autograd.grad(with_targets_held(features), features)
    torch.testing.assert_close(ours, numeric, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_weight_but_the_targets_gets_a_gradient(name):
    objective = build(name)
    objective(batch()).value.backward()
    for key, weight in objective.named_parameters():
        assert (weight.grad is None) == key.startswith("target_"), key


@pytest.mark.parametrize(
    ("name", "head", "widths", "last"),
    [
        ("simclr", "projector", [8, 8, 4], nn.Linear),
        ("dcl", "projector", [8, 8, 4], nn.Linear),
        ("byol", "projector", [8, 8, 4], nn.Linear),
        ("byol", "predictor", [4, 3, 4], nn.Linear),
        ("barlow_twins", "projector", [8, 8, 4], nn.Linear),
        ("vicreg", "projector", [8, 8, 8, 4], nn.Linear),
        ("spectral", "projector", [8, 8, 4], nn.Linear),
        ("simsiam", "projector", [8, 8, 8, 4], nn.BatchNorm1d),
        ("simsiam", "predictor", [4, 3, 4], nn.Linear),
        ("mocov3", "projector", [8, 8, 4], nn.BatchNorm1d),
        ("mocov3", "predictor", [4, 3, 4], nn.Linear),
    ],
)
def test_heads_are_those_of_the_papers(name, head, widths, last):
    layers = list(getattr(build(name), head))
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert [linear[0].in_features, *(layer.out_features for layer in linear)] == widths
    assert isinstance(layers[-1], last)
    if last is nn.BatchNorm1d:
        assert not layers[-1].affine
    hidden = layers[1:-2] if last is nn.BatchNorm1d else layers[1:-1]
    normalised = sum(isinstance(layer, nn.BatchNorm1d) and layer.affine for layer in hidden)
    assert normalised == (0 if name in ("simclr", "dcl") else len(widths) - 2)
    assert sum(isinstance(layer, nn.ReLU) for layer in layers) == len(widths) - 2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_hidden_layers_are_as_wide_as_the_representation_or_as_asked(name):
    if name == "supervised":
        assert isinstance(build(name).projector, nn.Identity)
        return
    assert build(name).projector[0].out_features == DIM
    assert build(name, projector_hidden=5).projector[0].out_features == 5


@pytest.mark.parametrize("name", MOMENTUM)
def test_a_missing_target_is_refused_and_the_shipped_momentum_is_the_papers(name):
    objective, given = build(name), batch()
    assert objective.momentum(0, 10) == pytest.approx({"byol": 0.996, "mocov3": 0.99}[name])
    with pytest.raises(ValueError, match="needs a momentum target"):
        objective(replace(given, second=replace(given.view2, target=None)))


def test_the_control_in_closed_form_and_with_smoothed_labels():
    objective, given = build("supervised"), batch()
    for weight in objective.classifier.parameters():
        weight.data.zero_()
    term = objective(given)
    assert term.value.item() == pytest.approx(math.log(CLASSES))
    assert term.parts["train_accuracy"].item() == pytest.approx(1 / 3), "it always says class 0"
    smoothed = build("supervised", label_smoothing=0.3)
    logits = np.concatenate([*run(smoothed.classifier, given.view1.features, given.view2.features)])
    oracle = loops.cross_entropy(logits, given.labels.tolist() * 2, 0.3)
    assert smoothed(given).value.item() == pytest.approx(oracle, rel=1e-12)
