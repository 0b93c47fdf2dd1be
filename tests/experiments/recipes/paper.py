"""The published setting, written from the paper and its released code, and naive PyTorch that computes it.

Wang et al., "Rethinking Minimal Sufficient Representation in Contrastive Learning", CVPR 2022 (arXiv
2203.07004). Nothing here comes from the library: facts are typed, networks are functions of a state dict.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F

HALF = ([0.5] * 3, [0.5] * 3)
SMALL = {
    "blocks": (2, 2, 2, 2),
    "expansion": 1,
    "widths": (64, 128, 256, 512),
    "init": "torch",
    "units": HALF,
}
LARGE = {
    "blocks": (3, 4, 6, 3),
    "expansion": 4,
    "widths": (64, 128, 256, 512),
    "stem": (7, 2),
    "init": "he",
    "units": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}
ADAM = {"name": "adam", "lr": 3e-4}
LARS = {"name": "lars", "lr": 0.3 * 1024 / 256, "weight_decay": 1e-6, "momentum": 0.9, "trust": 1e-3}
DATA = {
    "cifar10": SMALL | {"size": 32, "stem": (3, 1), "batch": 256, "optimizer": ADAM, "cosine": False},
    "cifar100": SMALL | {"size": 32, "stem": (3, 1), "batch": 256, "optimizer": ADAM, "cosine": False},
    "stl10": SMALL | {"size": 64, "stem": (3, 2), "batch": 256, "optimizer": ADAM, "cosine": False},
    "imagenet": LARGE | {"size": 224, "batch": 1024, "optimizer": LARS, "cosine": True},
}
BATCH = {("cifar10", "byol"): 128, ("cifar10", "barlow_twins"): 128}
JITTER = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
STRENGTH = {"supervised": 0.5}
VIEWS = {"supervised": 1}
EPOCHS, MOMENTUM, TEMPERATURE, OFF_DIAGONAL = 200, 0.996, 0.5, 1e-2
HEADS = {  # shapes of the weights of linear layers, for features of D
    "simclr": lambda d: [(d, d), (128, d)],
    "byol": lambda d: [(d, d), (128, d), (128, 128), (128, 128)],
    "barlow_twins": lambda d: [(d, d), (1024, d)],
    "supervised": lambda d: [],
}
SIGMA = {"supervised": 0.01}
RHO = {"imagenet": 1 / 80}
LEVELS = {"imagenet": (0.0, 0.0, 1.0)}
LAMBDA = {
    ("simclr", "rc"): 1.0,
    ("simclr", "lbe"): 1.0,
    ("simclr", "ip"): 5e-4,
    ("simclr", "mib"): 5e-4,
    ("byol", "rc"): 0.1,
    ("byol", "lbe"): 0.1,
    ("barlow_twins", "rc"): 1.0,
    ("barlow_twins", "lbe"): 1.0,
    ("supervised", "rc"): 1e-3,
    ("supervised", "lbe"): 0.1,
}
LAMBDA_OF_DATA = {
    ("imagenet", "simclr", "rc"): 0.1,
    ("cifar100", "supervised", "rc"): 1e-2,
    ("cifar100", "supervised", "lbe"): 1.0,
}
DECODERS = {  # by the image's side: map after the linear layer, channels of the doublings, stride of the last
    32: (4, (64, 256, 128, 64), 1),
    64: (4, (128, 128, 128, 128, 128), 1),
    224: (7, (64, 128, 128, 128, 64), 2),
}
DECODER_WEIGHTS = 1_045_059  # at 32 px
TABLES = {
    "cifar10": {
        "simclr": ["none", "rc", "lbe", "ip", "noise", "mib"],
        "byol": ["none", "rc", "lbe"],
        "barlow_twins": ["none", "rc", "lbe"],
        "supervised": ["none", "rc", "lbe"],
    },
    "cifar100": {"supervised": ["none", "rc", "lbe"]},
    "stl10": {name: ["none", "rc", "lbe"] for name in ("simclr", "byol", "barlow_twins")},
    "imagenet": {"simclr": ["none", "rc", "lbe"]},
}
ROWS = [(d, o, r) for d, rows in TABLES.items() for o, regs in rows.items() for r in regs]


def weight_of(data, objective, reg):
    """Lambda, in units of the released term."""
    return LAMBDA_OF_DATA.get((data, objective, reg), LAMBDA.get((objective, reg), 0.0))


def encoder_shapes(data):
    """Shapes of a ResNet's convolutions and BatchNorm weights, in no order."""
    about, shapes = DATA[data], []

    def conv(out, channels, side):
        shapes.extend([(out, channels, side, side), (out,), (out,)])

    channels = about["widths"][0]
    conv(channels, 3, about["stem"][0])
    for level, (width, blocks) in enumerate(zip(about["widths"], about["blocks"], strict=True)):
        for block in range(blocks):
            out = width * about["expansion"]
            if about["expansion"] == 1:
                conv(width, channels, 3)
                conv(width, width, 3)
            else:
                conv(width, channels, 1)
                conv(width, width, 3)
                conv(out, width, 1)
            if block == 0 and (level > 0 or channels != out):
                conv(out, channels, 1)
            channels = out
    return shapes


def decoder_shapes(size, dim):
    """Shapes of a decoder's weights, from the first layer to the last."""
    side, channels, _ = DECODERS[size]
    first = channels[0] * side**2
    shapes = [(first, dim), (first,), (first,)]
    for before, after in itertools.pairwise(channels):
        shapes += [(before, after, 3, 3), (after,), (after,)]
    return [*shapes, (channels[-1], 3, 3, 3), (3,)]


def normal(x, weight, bias):
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=1e-5)


def encode(images, state, stride, blocks):
    """Pooled features of levels 2 to 4 of images in [0, 1] that pass a ResNet of basic blocks alone."""

    def conv_bn(x, conv, bn, step=1):
        weight = state[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=step, padding=weight.shape[-1] // 2)
        return normal(x, state[f"{bn}.weight"], state[f"{bn}.bias"])

    mean, std = (torch.tensor(values, dtype=images.dtype).view(1, 3, 1, 1) for values in HALF)
    x = F.relu(conv_bn((images - mean) / std, "stem.0", "stem.1", stride))
    pooled = []
    for level, count in enumerate(blocks):
        for block in range(count):
            name, step = f"levels.{level}.{block}", 2 if level > 0 and block == 0 else 1
            out = F.relu(conv_bn(x, f"{name}.conv1", f"{name}.bn1", step))
            out = conv_bn(out, f"{name}.conv2", f"{name}.bn2")
            if step == 2:
                x = conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", step)
            x = F.relu(out + x)
        pooled.append(x.mean(dim=(2, 3)))
    return pooled[1:]


def mlp(x, state, name, bn):
    """Linear, BatchNorm where there is one, ReLU, linear. A bias before BatchNorm, as released, cancels."""
    x = F.linear(x, state[f"{name}.0.weight"], state.get(f"{name}.0.bias"))
    if bn:
        x = normal(x, state[f"{name}.1.weight"], state[f"{name}.1.bias"])
    last = 3 if bn else 2
    return F.linear(F.relu(x), state[f"{name}.{last}.weight"], state[f"{name}.{last}.bias"])


def decode(h, weights, size):
    """Images from features by the released decoder."""
    side, channels, last = DECODERS[size]
    weights = list(weights)
    x = F.relu(normal(F.linear(h, weights[0]), weights[1], weights[2])).reshape(-1, channels[0], side, side)
    for at in range(3, len(weights) - 2, 3):
        x = F.conv_transpose2d(x, weights[at], stride=2, padding=1, output_padding=1)
        x = F.relu(normal(x, weights[at + 1], weights[at + 2]))
    return F.conv_transpose2d(x, weights[-2], weights[-1], stride=last, padding=1, output_padding=last - 1)


def nt_xent(z1, z2):
    z = torch.cat([z1, z2])
    z = z / z.norm(dim=1, keepdim=True)
    total, count = 0.0, len(z1)
    for i in range(2 * count):
        scores = torch.stack([z[i] @ z[k] / TEMPERATURE for k in range(2 * count) if k != i])
        total = total + scores.logsumexp(0) - z[i] @ z[(i + count) % (2 * count)] / TEMPERATURE
    return total / (2 * count)


def regression(p, t):
    return (2 - 2 * F.normalize(p, dim=1).mul(F.normalize(t, dim=1)).sum(1)).mean()


def barlow_twins(z1, z2):
    z1, z2 = (z / z.norm(dim=1, keepdim=True) for z in (z1, z2))
    z1, z2 = ((z - z.mean(0)) / z.std(0) for z in (z1, z2))
    c = z1.T @ z2 / len(z1)
    wanted = torch.eye(len(c), dtype=c.dtype)
    return ((c - wanted) ** 2 * (wanted + OFF_DIAGONAL * (1 - wanted))).sum()


def lbe(mu, h, rho):
    """What the released code minimises: the logsumexp of the bound alone, as a cube."""
    squared = ((h[:, None] - mu[None]) ** 2).sum(-1)
    return (-rho * squared).logsumexp(dim=1).mean()


def adam(weight, gradients):
    first = second = 0.0
    for step, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weight = weight - ADAM["lr"] * (first / (1 - 0.9**step)) / (
            (second / (1 - 0.999**step)).sqrt() + 1e-8
        )
    return weight


def lars(weight, gradients, *, inside):
    """The rate of each step is the cosine's of an epoch."""
    velocity = torch.zeros_like(weight)
    for epoch, gradient in enumerate(gradients):
        rate = LARS["lr"] * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
        update = gradient + LARS["weight_decay"] * weight
        update = update * LARS["trust"] * weight.norm() / update.norm()
        velocity = LARS["momentum"] * velocity + (rate * update if inside else update)
        weight = weight - (velocity if inside else rate * velocity)
    return weight
