"""The comparisons. Each returns a row: what, the alternative, both figures, and their ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms as T
from PIL import Image

from benchmarks.measure import device, in_fresh_process, peak_memory_mib, timed
from infocl.config import Params
from infocl.encoder.network import Encoder
from infocl.encoder.views import Views, to_unit_range
from infocl.evaluate.features import extract
from infocl.evaluate.protocol import evaluate_task
from infocl.pretrain.learner import Learner
from infocl.pretrain.optim import build_optimizer
from infocl.pretrain.regularizers.lbe import mi_lower_bound

MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]


@dataclass(frozen=True)
class Row:
    """One comparison; `ratio` is how many times better ours is (above 1) or worse (below 1)."""

    what: str
    ours: str
    alternative: str
    ratio: float


def broadcast_bound(noisy: torch.Tensor, mean: torch.Tensor, rho: float) -> torch.Tensor:
    """The same bound with all differences in memory, N x N x D, as the released code computes it."""
    logits = -rho * (noisy[:, None] - mean[None]).square().sum(-1)
    return (logits.diagonal() - logits.logsumexp(1)).mean() + math.log(len(mean))


def _bound_inputs(count: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    mean = torch.randn(count, dim, device=device(), requires_grad=True)
    return mean + 0.1 * torch.randn(count, dim, device=device()), mean


def _bound_memory(kind: str, count: int, dim: int) -> float:
    bound = {"matrix": mi_lower_bound, "broadcast": broadcast_bound}[kind]
    small = _bound_inputs(4, dim)
    bound(*small, 0.05).backward()
    noisy, mean = _bound_inputs(count, dim)
    return peak_memory_mib(lambda: bound(noisy, mean, 0.05).backward())


def lbe(count: int = 512, dim: int = 512) -> list[Row]:
    """LBE's bound, forward and backward, in matrix form against the broadcast form."""
    times = {}
    for kind, bound in (("matrix", mi_lower_bound), ("broadcast", broadcast_bound)):
        noisy, mean = _bound_inputs(count, dim)
        times[kind] = timed(lambda b=bound, n=noisy, m=mean: b(n, m, 0.05).backward(retain_graph=True))
    memory = {kind: in_fresh_process(_bound_memory, kind, count, dim) for kind in times}
    what = f"LBE bound, N={count}, D={dim}, forward and backward"
    return [
        Row(
            f"{what}: time",
            f"matrix form {times['matrix']}",
            f"broadcast form {times['broadcast']}",
            times["broadcast"].median / times["matrix"].median,
        ),
        Row(
            f"{what}: peak memory",
            f"{memory['matrix']:.0f} MiB",
            f"{memory['broadcast']:.0f} MiB",
            memory["broadcast"] / memory["matrix"],
        ),
    ]


def views(params: Params, batch: int = 256) -> list[Row]:
    """Both views of a batch against Kornia's operations and torchvision's on PIL images, in one process."""
    v, size = params.views, params.data.image_size
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    ours = Views(v, size)
    resident = torch.from_numpy(images).to(device())
    pil = T.Compose(
        [
            T.RandomResizedCrop(size, scale=tuple(v.crop_scale), ratio=tuple(v.crop_ratio)),
            T.RandomHorizontalFlip(v.flip_p),
            T.RandomApply([T.ColorJitter(v.brightness, v.contrast, v.saturation, v.hue)], v.jitter_p),
            T.RandomGrayscale(v.grayscale_p),
            T.ToTensor(),
        ]
    )

    def by_pil() -> torch.Tensor:
        pictures = [Image.fromarray(image) for image in images]
        return torch.stack([pil(picture) for picture in pictures * 2]).to(device())

    fast = timed(lambda: ours(resident, 0))
    others = {
        "Kornia": timed(lambda: ours.augment(to_unit_range(resident).repeat(2, 1, 1, 1))),
        "torchvision on PIL": timed(by_pil, repeats=5),
    }
    return [
        Row(
            f"Both views of {batch} images of {size} px",
            f"{2 * batch / fast.median:.0f} views/s",
            f"{name} {2 * batch / slow.median:.0f} views/s",
            slow.median / fast.median,
        )
        for name, slow in others.items()
    ]


def precision(params: Params, batch: int = 256) -> list[Row]:
    """One training step (views given), forward and backward, in bf16 autocast against float32."""
    size = params.data.image_size
    learner = Learner(params, MEAN, STD).to(device=device(), memory_format=torch.channels_last)
    pair = [torch.rand(batch, 3, size, size, device=device()) for _ in range(2)]
    pair = [view.contiguous(memory_format=torch.channels_last) for view in pair]
    generator = torch.Generator(device())

    def step(bf16: bool) -> None:
        with torch.autocast(device().type, torch.bfloat16, enabled=bf16):
            loss = learner(*pair, learner.draw(batch, generator)).value
        loss.backward()

    times = {bf16: timed(lambda b=bf16: step(b)) for bf16 in (True, False)}
    encoder = params.encoder
    return [
        Row(
            f"Training step, {encoder.arch} x {encoder.width:g} ({encoder.stem}), batch {batch}, {size} px",
            f"bf16 {times[True]}",
            f"float32 {times[False]}",
            times[False].median / times[True].median,
        )
    ]


def optimizer(params: Params) -> list[Row]:
    """One update of all weights, gradients given, by LARS against SGD with momentum."""
    weights = list(Learner(params, MEAN, STD).to(device()).parameters())
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    times = {}
    for name in ("lars", "sgd"):
        chosen = params.train.optimizer.model_copy(update={"name": name, "weight_decay": 1e-6})
        times[name] = timed(build_optimizer(chosen, weights).step, repeats=31)
    count = sum(weight.numel() for weight in weights)
    return [
        Row(
            f"Update of {len(weights)} weight tensors, {count / 1e6:.1f} million values",
            f"LARS {times['lars']}",
            f"SGD with momentum {times['sgd']}",
            times["sgd"].median / times["lars"].median,
        )
    ]


def probe(params: Params, count: int = 6000, epochs: int = 10, classes: int = 10) -> list[Row]:
    """The whole protocol on features extracted once, against SGD that encodes the images every epoch."""
    size = params.data.image_size
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = np.arange(count) % classes
    encoder = Encoder(params.encoder, MEAN, STD).to(device(), memory_format=torch.channels_last).eval()

    def cached() -> None:
        features = extract(encoder, images, device())
        half = count // 2
        evaluate_task(
            features[:half],
            labels[:half],
            features[half:],
            labels[half:],
            params.probe,
            params.seed,
            device(),
        )

    def encoding_every_epoch() -> None:
        head = torch.nn.Linear(encoder.dim, classes, device=device())
        optimizer = torch.optim.SGD(head.parameters(), 0.01, momentum=0.9)
        targets = torch.from_numpy(labels).to(device())
        for _ in range(epochs):
            features = torch.from_numpy(extract(encoder, images, device())).to(device())
            for start in range(0, count, 128):
                optimizer.zero_grad()
                F.cross_entropy(head(features[start : start + 128]), targets[start : start + 128]).backward()
                optimizer.step()

    fast, slow = timed(cached, repeats=3, warm_up=1), timed(encoding_every_epoch, repeats=3, warm_up=0)
    return [
        Row(
            f"Linear probe of {count} images",
            f"features once, {len(params.probe.l2)} strengths by L-BFGS, kNN: {fast}",
            f"encoding in each of {epochs} epochs of SGD, one strength: {slow}",
            slow.median / fast.median,
        )
    ]
