"""What each objective and each regulariser costs: time and peak memory over the plain encoder's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch

from benchmarks.loop import FULL_SIZE, LARGE, resized
from benchmarks.measure import device, in_fresh_process, interleaved, peak_memory_mib
from benchmarks.publish import table
from infocl.config import Params
from infocl.encoder.views import Views
from infocl.pretrain.learner import Learner
from infocl.pretrain.objectives import OBJECTIVES
from infocl.pretrain.regularizers import REGULARIZERS

CLASSES = 10
PLAIN = "plain encoder"


@dataclass(frozen=True)
class Setting:
    """An encoder, an image size and a batch that all parts are measured with."""

    params: Params
    batch: int

    def __str__(self) -> str:
        encoder, data = self.params.encoder, self.params.data
        return (
            f"{encoder.arch} x {encoder.width:g} ({encoder.stem} stem), {data.image_size} px, "
            f"batch {self.batch}, {self.params.train.precision}"
        )


@dataclass(frozen=True)
class PartRow:
    """One part; ratios are to the forward and backward pass of the plain encoder on the same views."""

    setting: str
    part: str
    time: str
    time_ratio: float
    memory_mib: float
    memory_ratio: float


def part_rows(settings: list[Setting]) -> list[PartRow]:
    """Every objective without regulariser, and every regulariser beside SimCLR."""
    rows = []
    for setting in settings:
        try:
            rows += _rows(setting)
        except torch.OutOfMemoryError:
            print(f"Left out, because the device's memory does not hold it: {setting}", file=sys.stderr)
    return rows


def part_table(rows: list[PartRow]) -> list[str]:
    """The rows as lines of Markdown."""
    return table(
        ("setting", "part", "time", "times plain", "peak memory", "times plain"),
        (
            (
                *astuple(row)[:3],
                f"{row.time_ratio:.2f}",
                f"{row.memory_mib:.0f} MiB",
                f"{row.memory_ratio:.2f}",
            )
            for row in rows
        ),
    )


def shipped_and_large(params: Params) -> list[Setting]:
    """The shipped params; on a GPU also two networks of published size."""
    settings = [Setting(params, params.train.batch_size)]
    if device().type == "cuda":
        settings += [Setting(resized(params, FULL_SIZE, 32, 512), 512)]
        settings += [Setting(resized(params, LARGE, 224, 256), 256)]
    return settings


def parts() -> dict[str, tuple[str, str] | None]:
    """Objective and regulariser of each part by its name; None for the encoder alone."""
    return (
        {PLAIN: None}
        | {name: (name, "none") for name in OBJECTIVES}
        | {f"simclr + {name}": ("simclr", name) for name in REGULARIZERS if name != "none"}
    )


def _rows(setting: Setting) -> list[PartRow]:
    memory = {part: in_fresh_process(_memory, setting, part) for part in parts()}
    times = interleaved({part: _step(setting, part) for part in parts()})
    return [
        PartRow(
            str(setting),
            part,
            *(str(time), time.median / times[PLAIN].median),
            *(memory[part], memory[part] / memory[PLAIN]),
        )
        for part, time in times.items()
    ]


def _step(setting: Setting, part: str) -> Callable[[], None]:
    """Forward and backward pass of a part, views given, and the target's update; no optimiser."""
    chosen = parts()[part]
    objective, regularizer = chosen or ("simclr", "none")
    params = setting.params.model_copy(
        update={
            "objective": setting.params.objective.model_copy(update={"name": objective}),
            "reg": setting.params.reg.model_copy(update={"name": regularizer}),
        }
    )
    learner = Learner(params, [0.5] * 3, [0.25] * 3, CLASSES)
    learner.to(device=device(), memory_format=torch.channels_last)
    size = params.data.image_size
    shape = (setting.batch, 3, size, size)
    views = [torch.rand(shape, device=device()).to(memory_format=torch.channels_last) for _ in range(2)]
    labels = torch.arange(setting.batch, device=device()) % CLASSES
    images = torch.empty(setting.batch, size, size, 3, dtype=torch.uint8, device=device())
    plan = Views(params.views, size).plan(images, 0)
    generator = torch.Generator(device())

    def step() -> None:
        learner.zero_grad(set_to_none=True)
        with torch.autocast(device().type, torch.bfloat16, enabled=params.train.precision == "bf16"):
            if chosen is None:
                pixels = learner.encoder.normalize(torch.cat(views))
                loss = learner.encoder.forward_levels(pixels).level4.float().square().mean()
            else:
                noise = learner.draw(setting.batch, generator)
                loss = learner(views[0], views[1], noise, labels, plan).value
        loss.backward()
        if chosen is not None:
            learner.follow(learner.pull(0, 2))

    return step


def _memory(setting: Setting, part: str) -> float:
    _step(Setting(setting.params, 4), part)()  # what libraries set up once is not the part's
    return peak_memory_mib(lambda: _step(setting, part)())  # weights, a target's too, and views included
