"""`python -m benchmarks.gate`: how often the gate refuses retrainings that lost nothing, and accepts losses.

Simulated: every draw is a pair of encoders, or a year of them, each judged by the gate's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from scipy.special import ndtri

from infocl.config import GateParams
from infocl.config.file import load_params
from infocl.evaluate.paired import correlation
from infocl.results.card import CardMetrics, Parity, TaskScore
from infocl.runtime.files import write_text
from pipelines.differences import ExportedEncoder, of_mean, of_task
from pipelines.gate import Reference, judge

OUT = Path("benchmarks/results/gate.md")
# Targets of the data set scenes: accuracy in % of the run that was the default, and standard deviation
# between seeds in points, pooled over the 64 rows of benchmarks/results/matrix.md.
TARGETS = {
    "hue": (97.2, 8.8),
    "position": (77.5, 3.3),
    "scale": (87.0, 2.4),
    "tilt": (85.9, 2.6),
    "scenery": (44.1, 3.1),
    "digits": (96.7, 4.5),
    "photos": (47.2, 4.7),
}
SAME_IMAGES = ("hue", "position", "scale", "tilt", "scenery")  # questions about the same test images
SIZES = (150, 500, 1500, 5000)  # test images of each target
COMMON = 0.7  # share of the variance of an image's difficulty that all encoders have in common
BEFORE = {"max_mean_drop": 0.06, "max_task_drop": 0.2}
RETRAININGS = 12
YEAR_IMAGES = 1500
EVERY, ONE = "every target", "position"
LOSSES = ((EVERY, 2), (EVERY, 5), (EVERY, 8), (ONE, 10), (ONE, 15), (ONE, 25))
TEXT = """\
# How often the gate is wrong

`{command}`, a simulation: no training, the gate's own code. Each cell is {draws:,} pairs of retrainings
(at 5 % the 95 % interval is ± {error:.1f} points). {targets} targets with the accuracies of `scenes` and the
spread between seeds of short trainings ([matrix](matrix.md)); five share their test images. An image is
as hard for one encoder as for another, but for a part: the answers of two equal encoders correlate by
{phi} (phi). Size and time, which the gate looks at, too, are left out.

Before: independent samples, the mean and each target shown to have lost at most {before_mean:g} and
{before_task:g} points. After: paired, the mean shown to have lost at most {mean:g} points, no target shown to
have lost more than {task:g}.

{table}

{retrainings} retrainings in a row, each of another seed, {images:,} test images for each target, mean of
{years} such years:

{years_table}

A loss that is smaller than the spread between seeds cannot be told from it by one training each, whatever the
test images; the margins leave room for that spread. Where yours is known and smaller, narrow them.
"""

Shares = Mapping[str, float]


class Lab:
    """Draws encoders, all judged on the same test images.

    An encoder is right for an image where its ability exceeds the image's difficulty, both normal, so that
    the share of right answers is its accuracy and encoders err on much the same images.
    """

    def __init__(self, images: int, generator: np.random.Generator) -> None:
        self.images, self.generator = images, generator
        self.difficulty = {name: generator.normal(size=images) for name in TARGETS}

    def trained(self, lost: Shares, spread: float = 1.0) -> Shares:
        """True accuracies of another training, by target, in 0..1; points lost, and what its seed adds."""
        points = {
            name: accuracy - lost.get(name, 0.0) + spread * self.generator.normal(0, deviation)
            for name, (accuracy, deviation) in TARGETS.items()
        }
        return {name: float(np.clip(value / 100, 0.05, 0.999)) for name, value in points.items()}

    def judged(self, shares: Shares) -> ExportedEncoder:
        """An encoder of these accuracies, judged on the test images."""
        correct = {name: self._right(name, share) for name, share in shares.items()}
        rows = {name: self._row(name, right) for name, right in correct.items()}
        parity = Parity(max_relative_error=0.0, tolerance=1e-5)
        return ExportedEncoder(CardMetrics(source=None, transfer=rows), parity, 1, None, correct)

    def _right(self, name: str, share: float) -> npt.NDArray[np.bool_]:
        own = self.generator.normal(size=self.images)
        effort = np.sqrt(COMMON) * self.difficulty[name] + np.sqrt(1 - COMMON) * own
        return np.asarray(effort < ndtri(share))

    def _row(self, name: str, right: npt.NDArray[np.bool_]) -> TaskScore:
        share = float(right.mean())
        images = "together" if name in SAME_IMAGES else name
        return TaskScore.model_construct(
            kind="class",
            score=share,
            score_ci95=[share, share],
            knn_score=share,
            chance=0.0,
            test_images=self.images,
            test_images_sha256=images,
            test_labels_sha256=name,
        )


def refused_before(new: ExportedEncoder, now: ExportedEncoder) -> bool:
    """As the gate was: independent samples, and each target to be shown to have lost at most its margin."""
    one, other = (ExportedEncoder(encoder.metrics, encoder.parity, 1) for encoder in (new, now))
    lows = [of_task(one, other, name, 0.95).low for name in TARGETS]
    return (
        of_mean(one, other, list(TARGETS)).low < -BEFORE["max_mean_drop"]
        or min(lows) < -BEFORE["max_task_drop"]
    )


def refused_after(
    new: ExportedEncoder, now: ExportedEncoder, rules: GateParams, best: Reference | None = None
) -> bool:
    """By the gate as it is, its drops alone."""
    return not all(
        check.passed for check in judge(new, now, rules, best=best).checks if "points (" in check.rule
    )


def losses(what: str, points: float) -> Shares:
    """Points lost by target."""
    return {name: points for name in TARGETS if what in (EVERY, name)}


def pairs(
    images: int, draws: int, rules: GateParams, lost: Shares, spread: float = 1.0
) -> tuple[float, float]:
    """Shares of pairs of which the second is refused: before, after."""
    counts = np.zeros(2)
    for number in range(draws):
        lab = Lab(images, np.random.default_rng((images, number)))
        now, new = lab.judged(lab.trained({}, spread)), lab.judged(lab.trained(lost, spread))
        counts += refused_before(new, now), refused_after(new, now, rules)
    before, after = counts / draws
    return float(before), float(after)


def year(images: int, number: int, rules: GateParams, step: float, *, remember: bool) -> tuple[int, float]:
    """Retrainings one after the other, each worse than the one before by `step` points on every target.

    Returns:
        How many were refused, and the points of mean accuracy that service truly lost in the end.
    """
    lab = Lab(images, np.random.default_rng((images, number, 1)))
    shares = first = lab.trained({})
    now = best = lab.judged(shares)
    refused = 0
    for turn in range(1, RETRAININGS + 1):
        candidate = lab.trained(losses(EVERY, step * turn))
        new = lab.judged(candidate)
        rival = Reference("best", best) if remember and best is not now else None
        if refused_after(new, now, rules, rival):
            refused += 1
            continue
        shares, now = candidate, new
        best = max(best, new, key=lambda encoder: encoder.mean(list(TARGETS)))
    return refused, 100 * float(np.mean([first[name] - shares[name] for name in TARGETS]))


def table(rules: GateParams, draws: int, log: Callable[[str], object]) -> Iterator[str]:
    """Shares of pairs that are refused, in %, row by row."""
    yield "| % refused, before -> after | " + " | ".join(f"{size:,} images" for size in SIZES) + " |"
    yield "|---|" + "---|" * len(SIZES)
    cases: list[tuple[str, Shares, float]] = [
        ("equal, the images alone are luck", {}, 0.0),
        ("equal, of another seed", {}, 1.0),
        *((f"{points} points lost on {what}", losses(what, points), 1.0) for what, points in LOSSES),
    ]
    for words, lost, spread in cases:
        cells = [pairs(size, draws, rules, lost, spread) for size in SIZES]
        rates = [f"{100 * before:.1f} -> {100 * after:.1f}" for before, after in cells]
        log(f"{words}: {rates}")
        yield f"| {words} | {' | '.join(rates)} |"


def table_of_years(rules: GateParams, draws: int, log: Callable[[str], object]) -> Iterator[str]:
    """What retrainings in a row end with, row by row."""
    yield "| | held against the one in service alone | against the best so far, too |"
    yield "|---|---|---|"
    for step in (0.0, 1.0, 2.0):
        cells = []
        for remember in (False, True):
            years = [year(YEAR_IMAGES, number, rules, step, remember=remember) for number in range(draws)]
            refused, lost = np.mean(years, axis=0)
            cells.append(f"{refused:.1f} refused, {lost:.1f} points lost in the end")
        log(f"{step}: {cells}")
        yield f"| each {step:g} points worse than the last | {' | '.join(cells)} |"


def agreement() -> str:
    """How much the answers of two equal encoders agree here."""
    lab = Lab(100_000, np.random.default_rng(0))
    shares = {name: accuracy / 100 for name, (accuracy, _) in TARGETS.items()}
    one, other = lab.judged(shares), lab.judged(shares)
    phi = [correlation(one.correct[name], other.correct[name]) for name in TARGETS]
    return f"{min(phi):.2f} to {max(phi):.2f}"


def report(rules: GateParams, draws: int, log: Callable[[str], object]) -> str:
    """The page, as Markdown."""
    error = 100 * 1.96 * np.sqrt(0.05 * 0.95 / draws)
    return TEXT.format(
        draws=draws,
        years=draws // 10,
        error=error,
        command=f"python -m benchmarks.gate --draws {draws}",
        mean=100 * rules.max_mean_drop,
        task=100 * rules.max_task_drop,
        before_mean=100 * BEFORE["max_mean_drop"],
        before_task=100 * BEFORE["max_task_drop"],
        retrainings=RETRAININGS,
        images=YEAR_IMAGES,
        phi=agreement(),
        targets=len(TARGETS),
        table="\n".join(table(rules, draws, log)),
        years_table="\n".join(table_of_years(rules, draws // 10, log)),
    )


def main(
    draws: Annotated[int, typer.Option(help="Pairs for each cell.")] = 1000,
) -> None:
    """Simulate, and write benchmarks/results/gate.md."""
    write_text(OUT, report(load_params().gate, draws, print))


if __name__ == "__main__":
    typer.run(main)
