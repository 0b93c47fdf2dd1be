"""`python -m benchmarks.gpu`: images/s of whole training steps on a GPU, beside what one would otherwise run.

Settings come in order of interest; what the time does not reach is listed as not measured.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torchvision.transforms.v2 as T
from torch.profiler import ProfilerActivity, profile

from benchmarks.loop import FULL_SIZE, LARGE, LOOP_TITLES, WARM_UP, LoopRow, measure, resized, set_up, window
from benchmarks.measure import device, machine
from benchmarks.publish import about, publish, table
from infocl.config import EncoderParams, Params
from infocl.config.file import load_params
from infocl.encoder.views import Views, to_unit_range
from infocl.pretrain import loop, training
from infocl.runtime.history import History

PAIRS = (("simclr", "lbe"), ("simclr", "none"), ("simclr", "rc"), ("byol", "none"))
MODES: dict[str, dict[str, bool | str]] = {
    "graphed": {"compile": False, "cuda_graph": "auto"},
    "eager": {"compile": False, "cuda_graph": False},
    "compiled": {"compile": True, "cuda_graph": False},
    "compiled and graphed": {"compile": True, "cuda_graph": "auto"},
}
TINY = FULL_SIZE.model_copy(update={"stem": "stl", "width": 0.0625})
KERNELS = 15  # of the profile


class Setting(NamedTuple):
    """A network at one size and batch, an objective and a regulariser, and how its steps run."""

    encoder: EncoderParams
    size: int
    batch: int
    pair: tuple[str, str]
    mode: str

    def params(self, base: Params) -> Params:
        """The params of such a run."""
        objective, reg = self.pair
        changed = resized(base, self.encoder, self.size, self.batch)
        train = changed.train.model_copy(update=MODES[self.mode])
        parts = {
            "objective": base.objective.model_copy(update={"name": objective}),
            "reg": base.reg.model_copy(update={"name": reg}),
            "train": train,
        }
        return changed.model_copy(update=parts)

    def __str__(self) -> str:
        return (
            f"{self.encoder.arch}, {self.size} px, batch {self.batch}, {' + '.join(self.pair)}, {self.mode}"
        )


@dataclass(frozen=True)
class Measured:
    """A setting and what was measured, or why nothing was."""

    setting: str
    row: LoopRow | None
    missing: str = ""

    def cells(self) -> tuple[str, ...]:
        """As a row of the table."""
        return self.row.cells() if self.row else (self.setting, f"not measured: {self.missing}", "", "", "")


def settings(*, dry: bool) -> list[Setting]:
    """What is measured, the most telling first."""
    if dry:
        modes = [mode for mode in MODES if not MODES[mode]["compile"]]  # for a CPU that takes minutes
        chosen = [(PAIRS[0], mode) for mode in modes] + [(pair, "eager") for pair in PAIRS[1:]]
        return [Setting(TINY, 16, 8, *each) for each in chosen]
    small, large = (FULL_SIZE, 32), (LARGE, 224)
    first = [Setting(*small, 512, pair, mode) for pair in PAIRS for mode in MODES]
    first += [Setting(*large, 256, PAIRS[0], mode) for mode in MODES]
    batches = [(*network, batch) for network in (small, large) for batch in (256, 512, 1024)]
    rest = [Setting(*batch, pair, mode) for mode in MODES for batch in batches for pair in PAIRS]
    return [*first, *(setting for setting in rest if setting not in first)]


def measured(base: Params, chosen: list[Setting], until: float) -> Iterator[Measured]:
    """Each setting in turn, as long as there is time and memory."""
    for setting in chosen:
        if time.monotonic() > until:
            yield Measured(str(setting), None, "no time left")
            continue
        try:
            torch._dynamo.reset()
            yield Measured(str(setting), measure(setting.params(base)))
        except torch.OutOfMemoryError:
            yield Measured(str(setting), None, "the device's memory does not hold it")
        finally:
            if device().type == "cuda":
                torch.cuda.empty_cache()


def alternatives(params: Params, repeats: int) -> list[tuple[str, float]]:
    """Images/s of the same step, eager, with other views, and of the released code's step."""
    run, history = set_up(params), History([])
    run.learner.train()
    images, _ = run.images.batch(0)
    ours, batch = run.views, len(images)

    def with_views(views: Views) -> Callable[[int], object]:
        def step(number: int) -> None:
            run.views = run.update.views = views  # type: ignore[union-attr]
            loop._step(run, history, number)

        return step

    named = {
        "these views": with_views(ours),
        "Kornia's own pipeline on the device": with_views(_Kornia(params)),
        "torchvision v2 on the device, image by image": with_views(_Torchvision(params)),
        "the released code's step: float32, one view after another, broadcast bound": _released(
            run, ours(images, 0)
        ),
    }
    rates = []
    with training.tuned(run.device):
        for name, step in named.items():
            for number in range(min(WARM_UP, repeats)):
                step(number)
            rates.append((name, batch / window(step, repeats)))
    return rates


class _Kornia(Views):
    """The same operations, drawn and applied by Kornia."""

    def __init__(self, params: Params) -> None:
        super().__init__(params.views, params.data.image_size)

    def plan(self, images: torch.Tensor, *_: int) -> torch.Tensor:
        """Nothing: they are drawn when they are applied."""
        return images.new_empty(0)

    def make(self, images: torch.Tensor, plan: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both views of all images at once."""
        view1, view2 = self.augment(to_unit_range(images).repeat(2, 1, 1, 1)).chunk(2)
        return view1, view2


class _Torchvision(_Kornia):
    """torchvision's transforms of version 2, which draw once for a call: one call for each view."""

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        v = params.views
        scale, ratio = tuple(v.crop_scale), tuple(v.crop_ratio)
        self.transform = T.Compose(
            [
                T.RandomResizedCrop(self.size, scale=scale, ratio=ratio, antialias=False),
                T.RandomHorizontalFlip(v.flip_p),
                T.RandomApply([T.ColorJitter(v.brightness, v.contrast, v.saturation, v.hue)], v.jitter_p),
                T.RandomGrayscale(v.grayscale_p),
                T.ToDtype(torch.float32, scale=True),
            ]
        )

    def make(self, images: torch.Tensor, plan: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Image by image."""
        pixels = images.permute(0, 3, 1, 2)
        view1, view2 = (torch.stack([self.transform(image) for image in pixels]) for _ in range(2))
        return view1, view2


def broadcast_bound(noisy: torch.Tensor, mean: torch.Tensor, rho: float) -> torch.Tensor:
    """LBE's bound with all differences in memory, N x N x D, as the released code computes it."""
    logits = -rho * (noisy[:, None] - mean[None]).square().sum(-1)
    return (logits.diagonal() - logits.logsumexp(1)).mean() + math.log(len(mean))


def _released(run: training.Training, views: tuple[torch.Tensor, torch.Tensor]) -> Callable[[int], object]:
    """What Wang et al. (CVPR 2022) released, as a step: float32, NCHW, the bound of all pairs at once."""
    learner = run.learner.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(learner.parameters(), 1e-3)
    both = [view.contiguous() for view in views]

    def step(_: int) -> None:
        means = [learner.encoder(view) for view in both]
        noisy = [mean + 0.1 * torch.randn_like(mean) for mean in means]
        embedded = torch.cat([torch.nn.functional.normalize(learner.objective.embed(z)) for z in noisy])
        logits = embedded @ embedded.T / 0.5
        logits = logits.masked_fill(
            torch.eye(len(logits), dtype=torch.bool, device=logits.device), -torch.inf
        )
        pairs = torch.arange(len(logits), device=logits.device).roll(len(both[0]))
        loss = torch.nn.functional.cross_entropy(logits, pairs)
        loss = loss - broadcast_bound(torch.cat(noisy), torch.cat(means), 0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def profiled(params: Params) -> list[tuple[str, int, str]]:
    """The kernels, or on the CPU the operations, that take most of a step's time: name, calls, share."""
    run, history = set_up(params), History([])
    run.learner.train()
    cuda = device().type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with training.tuned(run.device):
        for step in range(WARM_UP):
            loop._step(run, history, step)
        with profile(activities=activities) as found:
            loop._step(run, history, WARM_UP)
    kind = "device" if cuda else "cpu"
    events = sorted(found.key_averages(), key=lambda event: -getattr(event, f"self_{kind}_time_total"))
    total = sum(getattr(event, f"self_{kind}_time_total") for event in events)
    return [
        (f"`{event.key[:90]}`", event.count, f"{getattr(event, f'self_{kind}_time_total') / total:.1%}")
        for event in events[:KERNELS]
    ]


def main() -> None:
    """Measure, print, and write the page; a dry run only prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--dry-run", action="store_true")
    arguments = parser.parse_args()
    until = time.monotonic() + 60 * arguments.minutes
    base = load_params()
    chosen = settings(dry=arguments.dry_run)
    first = chosen[0]
    compared = first._replace(mode="eager")
    others = alternatives(compared.params(base), 2 if arguments.dry_run else 10)
    kernels = profiled(first.params(base))
    rows = []
    for row in measured(base, chosen, until):
        print(*row.cells(), sep=" | ", flush=True)
        rows.append(row)
    lines = [
        f"Whole steps, {base.train.precision}: batch, views, forward, backward, {base.train.optimizer.name},",
        "history. The host's part is the time until the host is free again, the device idle before.",
        "",
        *table(("setting", *LOOP_TITLES), (row.cells() for row in rows)),
        *("", f"The same step in the same run ({compared}):", ""),
        *table(("views", "images/s"), ((name, f"{rate:.0f}") for name, rate in others)),
        *("", f"Where the time of a step goes ({first}):", ""),
        *table(("kernel", "calls", "share"), kernels),
    ]
    if arguments.dry_run:
        print(*lines, "A dry run: none of these figures is kept.", sep="\n")
        return
    found = {"rows": [asdict(row) for row in rows], "others": others}
    publish("cuda", "Training on", lines, about("torch", "kornia", "torchvision", device=machine()), **found)


if __name__ == "__main__":
    main()
