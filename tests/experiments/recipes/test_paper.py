"""Every recipe of the paper, rebuilt term by term from a description that knows nothing of the library."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import nn

from infocl.config.file import parse_params
from infocl.experiments.recipes.compose import checked, find_recipe
from infocl.pretrain.learner import Learner
from infocl.pretrain.optim import build_optimizer, learning_rate, set_learning_rate
from infocl.runtime.mappings import merged
from tests.experiments.recipes import paper
from tests.workspace import SHIPPED

CIFAR = {"mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26]}  # which the published setting does not use
OF_WHOLE_STEPS = [(objective, reg) for data, objective, reg in paper.ROWS if data == "cifar10"]


@cache
def params_of(data, objective, reg):
    return checked(find_recipe(f"{data}-{objective}-{reg}"), SHIPPED)


@cache
def built(data, objective, reg):
    """The recipe's networks, of full size, without values."""
    with torch.device("meta"):
        return Learner(params_of(data, objective, reg), **CIFAR, classes=10)


def shapes(module):
    return [tuple(weight.shape) for weight in module.parameters()]


@pytest.mark.parametrize(("data", "objective", "reg"), paper.ROWS)
def test_numbers(data, objective, reg):
    params, facts = params_of(data, objective, reg), paper.DATA[data]
    train, views = params.train, params.views
    assert (params.data.name, params.data.image_size) == (data, facts["size"])
    assert (train.epochs, train.precision) == (paper.EPOCHS, "fp32")
    assert train.batch_size == paper.BATCH.get((data, objective), facts["batch"])
    strength = paper.STRENGTH.get(objective, 1)
    assert {name: getattr(views, name) for name in paper.JITTER} == {
        name: value * strength for name, value in paper.JITTER.items()
    }
    assert (views.crop_scale, views.flip_p, views.jitter_p, views.grayscale_p) == ([0.08, 1.0], 0.5, 0.8, 0.2)
    sigma = paper.SIGMA.get(objective, 0.1)
    assert reg not in ("lbe", "noise", "mib") or params.reg.own.sigma == sigma
    weight = paper.weight_of(data, objective, reg)
    if reg == "mib":  # of a mean square over features there, of a KL of posteriors here
        weight *= 2 * sigma**2 / facts["widths"][-1]
    assert params.reg.weight == pytest.approx(weight, rel=1e-12)


@pytest.mark.parametrize(("data", "objective", "reg"), paper.ROWS)
def test_networks_and_rows(data, objective, reg):
    learner, facts = built(data, objective, reg), paper.DATA[data]
    dim = facts["widths"][-1] * facts["expansion"]
    assert sorted(shapes(learner.encoder)) == sorted(paper.encoder_shapes(data))
    linear = [layer for name in ("projector", "predictor") for layer in layers_of(learner.objective, name)]
    assert [tuple(layer.weight.shape) for layer in linear] == paper.HEADS[objective](dim)
    assert learner.views == paper.VIEWS.get(objective, 2)
    if reg == "rc":
        assert shapes(learner.regularizer.decoder) == paper.decoder_shapes(facts["size"], dim)
        count = sum(math.prod(shape) for shape in shapes(learner.regularizer.decoder))
        assert facts["size"] != 32 or count == paper.DECODER_WEIGHTS
        (decoder,) = [term for term in find_recipe(f"{data}-{objective}-rc").terms if term.name == "decoder"]
        assert decoder.published.endswith(f"{count:,} weights")
    if reg == "lbe":
        assert learner.regularizer.rhos == [paper.RHO.get(data, 0.05)] * 3
        assert tuple(learner.regularizer.level_weights) == paper.LEVELS.get(data, (0.25, 0.5, 1.0))


def layers_of(objective, name):
    return [
        layer for layer in getattr(objective, name, nn.Identity()).modules() if isinstance(layer, nn.Linear)
    ]


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 6, 3, 32, 32, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("objective", "reg"), OF_WHOLE_STEPS)
def test_loss_and_gradient_of_a_step(objective, reg, images):
    """The recipe with a narrow network in float64 against naive code on the same weights and noise."""
    recipe = find_recipe(f"cifar10-{objective}-{reg}")
    params = checked(recipe, SHIPPED)
    params = params.model_copy(update={"encoder": params.encoder.model_copy(update={"width": 0.0625})})
    torch.manual_seed(0)
    learner = Learner(params, **CIFAR, classes=3).double()
    labels = torch.arange(6) % 3
    noise = learner.draw(6, torch.Generator().manual_seed(1))
    second = images[1] if learner.views == 2 else None
    learner(images[0], second, noise, labels).value.backward()
    gradients = [weight.grad.clone() for weight in trained(learner)]
    learner.zero_grad()
    naive(learner, objective, reg, images, noise, labels).backward()
    for weight, gradient in zip(trained(learner), gradients, strict=True):
        torch.testing.assert_close(gradient, weight.grad, rtol=1e-7, atol=1e-10)
    assert any(gradient.abs().max() > 1e-4 for gradient in gradients)


def trained(learner):
    return [weight for weight in learner.parameters() if weight.requires_grad]


def naive(learner, objective, reg, images, noise, labels):
    """The released loss, each view alone through everything."""
    state = dict(learner.encoder.named_parameters())
    heads = dict(learner.objective.named_parameters())
    seen = images[: paper.VIEWS.get(objective, 2)]
    sigma = paper.SIGMA.get(objective, 0.1) if noise else 0.0
    mus = [paper.encode(view, state, stride=1, blocks=(2, 2, 2, 2)) for view in seen]
    eps = [[level.chunk(len(seen))[k] for level in noise] or [0.0] * 3 for k in range(len(seen))]
    hs = [[mu + sigma * e for mu, e in zip(*pair, strict=True)] for pair in zip(mus, eps, strict=True)]
    top = [h[-1] for h in hs]
    if objective == "supervised":
        logits = top[0] @ heads["classifier.weight"].T + heads["classifier.bias"]
        loss = nn.functional.cross_entropy(logits, labels)
    else:
        bn = objective != "simclr"
        z = [paper.mlp(h, heads, "projector", bn) for h in top]
        if objective == "simclr":
            loss = paper.nt_xent(*z)
        elif objective == "barlow_twins":
            loss = paper.barlow_twins(*z)
        else:
            p = [paper.mlp(x, heads, "predictor", bn) for x in z]
            # The target begins as the online network, and sees the clean views.
            t = [paper.mlp(mu[-1], heads, "projector", bn).detach() for mu in mus]
            loss = paper.regression(p[0], t[1]) + paper.regression(p[1], t[0])
    return loss + paper.weight_of("cifar10", objective, reg) * term(learner, reg, seen, mus, hs)


def term(learner, reg, seen, mus, hs):
    if reg == "rc":
        weights = list(learner.regularizer.decoder.parameters())
        return sum(
            nn.functional.mse_loss(paper.decode(mu[-1], weights, 32), (view - 0.5) / 0.5)
            for mu, view in zip(mus, seen, strict=True)
        )
    if reg == "lbe":
        levels = [[torch.cat(parts) for parts in zip(*both, strict=True)] for both in (mus, hs)]
        shares = (0.25, 0.5, 1.0)
        return sum(s * paper.lbe(mu, h, 0.05) for s, mu, h in zip(shares, *levels, strict=True))
    if reg in ("ip", "mib"):
        first, other = (levels[-1] for levels in mus)
        error = nn.functional.mse_loss(first, other)
        return (
            error * first.shape[1] / 512 if reg == "mib" else error
        )  # the recipe's weight is of 512 features
    return 0.0


@pytest.mark.parametrize("reg", ["rc", "ip"])
def test_the_terms_value_is_the_released_one(reg, images):
    """Where the term is no bound, of which the released code leaves out the constant part."""
    params = params_of("cifar10", "simclr", reg)
    params = params.model_copy(update={"encoder": params.encoder.model_copy(update={"width": 0.0625})})
    learner = Learner(params, **CIFAR).double()
    value = learner(*images).value.item()
    assert value == pytest.approx(naive(learner, "simclr", reg, images, (), None).item(), rel=1e-9)


@pytest.mark.parametrize("recipe", ["cifar10-simclr-none", "imagenet-simclr-none", "outside"])
def test_twenty_updates(recipe):
    raw = find_recipe("imagenet-simclr-none" if recipe == "outside" else recipe).settings
    if recipe == "outside":  # the form of BYOL and Barlow Twins, which have no recipe for ImageNet
        raw = merged(raw, {"train": {"optimizer": {"lr_placement": "outside"}}})
    train = parse_params(merged(SHIPPED, raw)).train
    generator = torch.Generator().manual_seed(0)
    start, *gradients = torch.randn(21, 4, 3, generator=generator, dtype=torch.float64)
    weight = nn.Parameter(start.clone())
    optimizer = build_optimizer(train.optimizer, [weight])
    for epoch, gradient in enumerate(gradients):  # epochs of one step, since the released rate moves by epoch
        course = {"steps_per_epoch": 1, "total_steps": paper.EPOCHS}
        rate = learning_rate(epoch, peak=train.optimizer.lr, schedule=train.schedule, **course)
        set_learning_rate(optimizer, rate)
        weight.grad = gradient.clone()
        optimizer.step()
    if train.optimizer.name == "adam":
        expected = paper.adam(start, gradients)
    else:
        expected = paper.lars(start, gradients, inside=recipe != "outside")
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("data", ["cifar10", "imagenet"])
def test_initial_weights(data):
    torch.manual_seed(0)
    convolutions = [
        layer
        for layer in Learner(params_of(data, "simclr", "none"), **CIFAR).encoder.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    for layer in convolutions:
        out, channels, side, _ = layer.weight.shape
        if paper.DATA[data]["init"] == "torch":  # uniform
            bound = 1 / math.sqrt(channels * side**2)
            assert layer.weight.abs().max() <= bound
            deviation = bound / math.sqrt(3)
        else:  # normal
            deviation = math.sqrt(2 / (out * side**2))
            assert layer.weight.abs().max() > 3 * deviation
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)


def test_what_the_notes_say_was_measured():
    epochs, steps = paper.EPOCHS, 50
    byol, small = built("cifar10", "byol", "none").objective, built("imagenet", "simclr", "none").encoder
    total = epochs * steps
    released = [1 - 0.004 * (math.cos(math.pi * (k // steps) / epochs) + 1) / 2 for k in range(total)]
    apart = max(abs(byol.momentum(k, total) - m) for k, m in enumerate(released))
    assert 3e-5 < apart <= 3.2e-5
    rate = [0.5 * (1 + math.cos(math.pi * k / total)) for k in range(total)]
    assert 0.007 < max(abs(rate[k] - rate[k - k % steps]) for k in range(total)) <= 0.008
    norms = [layer for layer in small.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert sum(layer.num_features for layer in norms) == 26_560
    smallest = math.sqrt(0.08 * 0.75)
    assert 0.5 * (1 - smallest) <= 0.4
