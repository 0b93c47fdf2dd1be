"""Whether a retrained encoder may replace the one in service: descriptions in, a verdict out.

The mean of the targets must be shown to have kept its accuracy; a single target must not be shown to have
lost it. What cannot be seen in test images, the spread between seeds, the margins must leave room for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from infocl.config import GateParams, TaskKind
from infocl.evaluate.paired import Difference
from infocl.results.scores import KINDS, show_score
from infocl.runtime.text import counted, file_size, percent
from pipelines.differences import ExportedEncoder, common_targets, is_paired, limits, of_mean, of_task

MEAN = "mean"
NO_LEAD = -1.0  # the rule asks for none
SHARED = 0.5  # of the errors, that an equal encoder is taken to share, when nothing is known of it yet


@dataclass(frozen=True)
class Reference:
    """An encoder that the new one is held against, and its name, such as v1.2.0."""

    name: str
    encoder: ExportedEncoder


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


def judge(
    new: ExportedEncoder,
    now: ExportedEncoder | None,
    rules: GateParams,
    *,
    best: Reference | None = None,
    untrained: Mapping[str, float] | None = None,
) -> Verdict:
    """Compare a new encoder with the one in service, or only with the floors where there is none.

    Args:
        new: the candidate.
        now: in service.
        rules: the thresholds.
        best: the best version that was in service so far, where that is another one.
        untrained: accuracies of untrained encoders by task, the source being `source`, as far as measured.
    """
    return Verdict(
        [
            *_leads(new, rules, untrained or {}),
            *_drops(new, now, best, rules),
            *_floors(new, rules),
            _parity(new, now),
            *_ratios(new, now, rules),
        ]
    )


def _drops(
    new: ExportedEncoder, now: ExportedEncoder | None, best: Reference | None, rules: GateParams
) -> Iterator[Check]:
    if now is None:
        return
    if not common_targets(new, now):
        yield Check("targets", ", ".join(now.tasks), ", ".join(new.tasks), "none in common to compare", False)
        return
    others = [("", now)] + ([(f", best so far ({best.name})", best.encoder)] if best else [])
    count = sum(len(common_targets(new, other)) for _, other in others)
    for words, other in others:
        names = common_targets(new, other)
        if classes := [name for name in names if new.tasks[name].kind == "class"]:
            change = of_mean(new, other, classes)
            rule = (
                f"{_shown(change, 95)}, {_images(new, other, classes)}; the low end must be at least "
                f"{-100 * rules.max_mean_drop:+.1f}"
            )
            means = percent(other.mean(classes)), percent(new.mean(classes))
            what = f"{MEAN} of {len(classes)} targets{words}"
            yield Check(what, *means, rule, change.low >= -rules.max_mean_drop)
        for name in names:
            yield _target(new, other, name, words, rules.max_task_drop, count)


def _target(
    new: ExportedEncoder, other: ExportedEncoder, name: str, words: str, most: float, count: int
) -> Check:
    """Refused where a loss beyond the margin is shown; `count` targets are tested, corrected by Bonferroni.

    Whether any of several targets failed is the same question to Holm's method, whose first step this is.
    """
    confidence = 1 - 0.05 / count
    change = of_task(new, other, name, confidence)
    rule = (
        f"{_shown(change, 100 * confidence)}, {_images(new, other, [name])}; the high end must be at least "
        f"{-100 * most:+.1f}"
    )
    shown = other.tasks[name].shown, new.tasks[name].shown
    return Check(f"{name}{words}", *shown, rule, change.high >= -most)


def _shown(change: Difference, confidence: float) -> str:
    return (
        f"{100 * change.change:+.1f} points ({confidence:.3g} %: {100 * change.low:+.1f} to "
        f"{100 * change.high:+.1f})"
    )


def _images(new: ExportedEncoder, other: ExportedEncoder, names: list[str]) -> str:
    same = sum(is_paired(new, other, name) for name in names)
    if same == len(names):
        return "on the same test images"
    return "on other test images" if same == 0 else f"{same} of {len(names)} on the same test images"


def _leads(new: ExportedEncoder, rules: GateParams, untrained: Mapping[str, float]) -> Iterator[Check]:
    """The source, the mean of the targets with classes, and each other target, against no training."""
    rows, source = new.metrics.with_accuracy, new.metrics.source
    if rows:
        known = [untrained[name] for name in rows if name in untrained]
        chance = sum(row.chance for row in rows.values()) / len(rows)
        random = sum(known) / len(rows) if len(known) == len(rows) else None
        mean = _mean([row.estimate for row in rows.values()])
        yield _lead(f"{MEAN} of {counted(len(rows), 'target')}", mean, chance, random, rules)
    if source:
        yield _lead("source", source.estimate, source.chance, untrained.get("source"), rules)
    for name, row in new.tasks.items():
        if row.kind != "class":
            yield _lead(name, row.estimate, row.chance, untrained.get(name), rules, row.kind)


def _lead(
    name: str,
    estimate: tuple[float, float, float],
    chance: float,
    random: float | None,
    rules: GateParams,
    kind: TaskKind = "class",
) -> Check:
    score, low, _ = estimate
    by = [(chance, "naming the most frequent class" if kind == "class" else KINDS[kind].chance)]
    best, words = max(by if random is None else [*by, (random, "untrained encoders")])
    rule = (
        f"the low end {show_score(kind, low)} is {100 * (low - best):+.1f} points from {words} "
        f"({show_score(kind, best)}), must be at least {100 * rules.min_lead:+.1f}"
    )
    passed = rules.min_lead == NO_LEAD or low - best >= rules.min_lead  # an R2 may be below -1
    return Check(f"{name}, lead", "", show_score(kind, score), rule, passed)


def unreachable(now: ExportedEncoder, rules: GateParams) -> Iterator[str]:
    """A line for each margin that the test images are too few for, with how many it takes."""
    if rows := list(now.metrics.with_accuracy.values()):
        mean, margin = _mean([limits(row) for row in rows]), rules.max_mean_drop
        images = counted(sum(row.test_images for row in rows), "test image")
        if (needed := _equal(mean)) > margin:
            yield (
                f"gate.max_mean_drop {margin:g} is out of reach: with {images} even an encoder of the same "
                f"mean accuracy ({percent(mean[0])}) that shares half of the errors needs {_up(needed)}; "
                f"raise it{_enough(sum(row.test_images for row in rows), needed, margin, ' in all')}"
            )
    for name, row in now.tasks.items():
        margin, width = rules.max_task_drop, _equal(limits(row, 1 - 0.05 / len(now.tasks)))
        if width > max(margin, 0.01):
            yield (
                f"gate.max_task_drop {margin:g} protects {name} little: "
                f"{counted(row.test_images, 'test image')} show a loss only beyond {_up(margin + width)}; "
                f"set a floor for it{_enough(row.test_images, width, margin)}"
            )


def _enough(images: int, width: float, margin: float, words: str = "") -> str:
    """How many images it takes; an interval narrows by the root of their number."""
    return f", or test on about {math.ceil(images * (width / margin) ** 2):,}{words}" if margin else ""


def _equal(estimate: tuple[float, float, float]) -> float:
    """How far the interval of no difference goes down, for an encoder that shares half of the errors."""
    accuracy, low, high = estimate
    down, up = accuracy - low, high - accuracy
    return math.sqrt(down**2 - 2 * SHARED * down * up + up**2)


def _up(share: float) -> str:
    return f"{math.ceil(1000 * share) / 1000:g}"


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
