"""Whether a retrained encoder may replace the one in service: two descriptions in, a verdict out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infocl.config import GateParams, TaskKind
from infocl.results.card import (
    CARD_FILE,
    HINT,
    ONNX_FILE,
    CardMetrics,
    Parity,
    TaskScore,
    parse_measured,
)
from infocl.results.scores import KINDS, show_score
from infocl.runtime.files import read_json
from infocl.runtime.text import counted, file_size

MEAN = "mean"


@dataclass(frozen=True)
class ExportedEncoder:
    """What the gate looks at: the card, the file's size in bytes, seconds for a batch of 64 images."""

    metrics: CardMetrics
    parity: Parity
    size: int
    seconds: float | None = None

    @property
    def tasks(self) -> dict[str, TaskScore]:
        """The score and its interval for each target."""
        return self.metrics.transfer


@dataclass(frozen=True)
class Check:
    """One line of the verdict: both columns as people read them, and the rule."""

    what: str
    now: str
    new: str
    rule: str
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """All checks, whether they passed."""

    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether the new encoder may go in service."""
        return all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """One sentence that names what decided."""
        failed = [check for check in self.checks if not check.passed]
        if failed:
            return "; ".join(
                f"{check.what}: {check.new}{f' against {check.now}' if check.now else ''}, {check.rule}"
                for check in failed
            )
        return f"all {len(self.checks)} checks passed"


def read_encoder(folder: Path, seconds: float | None = None) -> ExportedEncoder:
    """Read an exported folder.

    Raises:
        UserError: its description is missing, damaged, or without transfer accuracies.
    """
    path = folder / CARD_FILE
    measured = parse_measured(read_json(path, HINT), path)
    return ExportedEncoder(measured.metrics, measured.parity, (folder / ONNX_FILE).stat().st_size, seconds)


def judge(new: ExportedEncoder, now: ExportedEncoder | None, rules: GateParams) -> Verdict:
    """Compare a new encoder with the one in service, or only with the floors where there is none."""
    return Verdict(
        [
            *_leads(new, rules),
            *_drops(new, now, rules),
            *_floors(new, rules),
            _parity(new, now),
            *_ratios(new, now, rules),
        ]
    )


def difference(
    new: tuple[float, float, float], now: tuple[float, float, float]
) -> tuple[float, float, float]:
    """The difference of two proportions and its 95 % interval, each given as (estimate, low, high).

    Newcombe (Statistics in Medicine 17, 1998), method 10: the distances to the limits of the single
    intervals add up as squares. Both encoders are judged on the same test images, which makes the true
    interval narrower; it cannot be had without the single predictions.
    """
    change = new[0] - now[0]
    low = change - math.hypot(new[0] - new[1], now[2] - now[0])
    high = change + math.hypot(new[2] - new[0], now[0] - now[1])
    return change, low, high


def _drops(new: ExportedEncoder, now: ExportedEncoder | None, rules: GateParams) -> Iterator[Check]:
    if now is None:
        return
    common = [
        name for name, row in new.tasks.items() if name in now.tasks and now.tasks[name].kind == row.kind
    ]
    if not common:
        yield Check("targets", ", ".join(now.tasks), ", ".join(new.tasks), "none in common to compare", False)
        return
    classes = [name for name in common if new.tasks[name].kind == "class"]
    if classes:
        mean = [_mean([encoder.tasks[name].estimate for name in classes]) for encoder in (new, now)]
        yield _drop(f"{MEAN} of {len(classes)} targets", mean[0], mean[1], rules.max_mean_drop)
    for name in common:
        one = new.tasks[name]
        yield _drop(name, one.estimate, now.tasks[name].estimate, rules.max_task_drop, one.kind)


def _drop(
    what: str,
    new: tuple[float, float, float],
    now: tuple[float, float, float],
    most: float,
    kind: TaskKind = "class",
) -> Check:
    change, low, high = difference(new, now)
    rule = (
        f"{100 * change:+.1f} points (95 %: {100 * low:+.1f} to {100 * high:+.1f}), "
        f"the low end must be at least {-100 * most:+.1f}"
    )
    return Check(what, show_score(kind, now[0]), show_score(kind, new[0]), rule, low >= -most)


def _leads(new: ExportedEncoder, rules: GateParams) -> Iterator[Check]:
    """The source, the mean of the targets with classes, and each other target, against blind answers."""
    rows, source = list(new.metrics.with_accuracy.values()), new.metrics.source
    if rows:
        chance = sum(row.chance for row in rows) / len(rows)
        mean = _mean([row.estimate for row in rows])
        yield _lead(f"{MEAN} of {counted(len(rows), 'target')}", mean, chance, rules)
    if source:
        yield _lead("source", source.estimate, source.chance, rules)
    for name, row in new.tasks.items():
        if row.kind != "class":
            yield _lead(name, row.estimate, row.chance, rules, row.kind)


def _lead(
    name: str,
    estimate: tuple[float, float, float],
    chance: float,
    rules: GateParams,
    kind: TaskKind = "class",
) -> Check:
    score, low, _ = estimate
    by = "naming the most frequent class" if kind == "class" else KINDS[kind].chance
    rule = (
        f"the low end {show_score(kind, low)} is {100 * (low - chance):+.1f} points from {by}, "
        f"must be at least {100 * rules.min_lead:+.1f}"
    )
    return Check(f"{name}, lead", "", show_score(kind, score), rule, low - chance >= rules.min_lead)


def unreachable(now: ExportedEncoder, rules: GateParams) -> Iterator[str]:
    """A line for each margin that an encoder of the accuracy in service cannot keep on its test images."""
    rows, classes = now.tasks, list(now.metrics.with_accuracy.values())
    margins = [
        ("max_task_drop", name, row.estimate, row.test_images, rules.max_task_drop, row.kind)
        for name, row in rows.items()
    ]
    if classes:
        mean, images = _mean([row.estimate for row in classes]), sum(row.test_images for row in classes)
        what = f"the {MEAN} of the targets"
        margins.insert(0, ("max_mean_drop", what, mean, images, rules.max_mean_drop, "class"))
    for key, what, estimate, images, margin, kind in margins:
        needed = -difference(estimate, estimate)[1]
        if needed > margin:
            # An interval narrows by the root of the number of images.
            enough = math.ceil(images * (needed / margin) ** 2) if margin else None
            yield (
                f"gate.{key} {margin:g} is out of reach for {what}: with {counted(images, 'test image')} "
                f"even an encoder of the same {KINDS[kind].name} ({show_score(kind, estimate[0])}) needs "
                f"{math.ceil(1000 * needed) / 1000:g}; raise it"
                f"{f', or test on about {enough:,} images' if enough else ''}"
            )


def _floors(new: ExportedEncoder, rules: GateParams) -> Iterator[Check]:
    classes = [row.estimate for row in new.metrics.with_accuracy.values()]
    found: dict[str, tuple[float, TaskKind]] = {
        name: (row.score, row.kind) for name, row in new.tasks.items()
    }
    if classes:
        found[MEAN] = _mean(classes)[0], "class"
    for name, floor in rules.floors.items():
        score, kind = found.get(name, (-math.inf, "class"))
        shown = show_score(kind, score) if name in found else "not measured"
        yield Check(f"{name}, floor", "", shown, f"at least {show_score(kind, floor)}", score >= floor)


def _parity(new: ExportedEncoder, now: ExportedEncoder | None) -> Check:
    error, tolerance = new.parity.max_relative_error, new.parity.tolerance
    shown = "" if now is None else f"{now.parity.max_relative_error:.1e}"
    return Check(
        "agreement with torch", shown, f"{error:.1e}", f"at most {tolerance:.0e}", error <= tolerance
    )


def _ratios(new: ExportedEncoder, now: ExportedEncoder | None, rules: GateParams) -> Iterator[Check]:
    if now is None:
        return
    yield _ratio("size", new.size, now.size, rules.max_size_ratio, lambda size: file_size(int(size)))
    if new.seconds is not None and now.seconds is not None:
        yield _ratio(
            "64 images",
            new.seconds,
            now.seconds,
            rules.max_latency_ratio,
            lambda seconds: f"{1000 * seconds:.1f} ms",
        )


def _ratio(what: str, new: float, now: float, most: float, show: Callable[[float], str]) -> Check:
    ratio = new / now
    return Check(what, show(now), show(new), f"{ratio:.2f} times, at most {most:g} times", ratio <= most)


def _mean(estimates: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    """The mean of independent proportions; distances to its limits add up as squares (as above)."""
    count = len(estimates)
    mean = sum(estimate for estimate, _, _ in estimates) / count
    low = mean - math.hypot(*(estimate - low for estimate, low, _ in estimates)) / count
    high = mean + math.hypot(*(high - estimate for estimate, _, high in estimates)) / count
    return mean, low, high
