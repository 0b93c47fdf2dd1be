"""`python -m benchmarks.gate`: how often the gate refuses retrainings that lost nothing, and accepts losses.

Simulated: every draw is a pair of encoders, or a year of them, each judged by the gate's own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from scipy.special import ndtri

from benchmarks.publish import RESULTS, table
from infocl.config import GateParams
from infocl.config.file import load_params
from infocl.evaluate.paired import correlation
from infocl.results.card import CardMetrics, Parity, TaskScore
from infocl.runtime.files import write_text
from pipelines.differences import ExportedEncoder
from pipelines.gate import Reference, judge

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
RETRAININGS = 12
YEAR_IMAGES = 1500
EVERY, ONE = "every target", "position"
HELD = ("", "held against the one in service alone", "against the best so far, too")
LOSSES = ((EVERY, 2), (EVERY, 5), (EVERY, 8), (ONE, 10), (ONE, 15), (ONE, 25))
TEXT = """\
# How often the gate is wrong

`{command}`, a simulation: no training, the gate's own code. Each cell is {draws:,} pairs of retrainings
(at 5 % the 95 % interval is ± {error:.1f} points). {targets} targets with the accuracies of `scenes` and the
spread between seeds of short trainings ([matrix](matrix.md)); five share their test images. An image is
as hard for one encoder as for another, but for a part: the answers of two equal encoders correlate by
{phi} (phi). Size and time, which the gate looks at, too, are left out.

The mean is shown to have lost at most {mean:g} points, and no target to have lost more than {task:g}.

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


def refused(
    new: ExportedEncoder, now: ExportedEncoder, rules: GateParams, best: Reference | None = None
) -> bool:
    """By the gate's drops alone."""
    checks = judge(new, now, rules, best=best).checks
    return not all(check.passed for check in checks if "points (" in check.rule)


def losses(what: str, points: float) -> Shares:
    """Points lost by target."""
    return {name: points for name in TARGETS if what in (EVERY, name)}


def pairs(images: int, draws: int, rules: GateParams, lost: Shares, spread: float = 1.0) -> float:
    """Share of pairs of which the second is refused."""
    count = 0
    for number in range(draws):
        lab = Lab(images, np.random.default_rng((images, number)))
        now, new = lab.judged(lab.trained({}, spread)), lab.judged(lab.trained(lost, spread))
        count += refused(new, now, rules)
    return count / draws


def year(images: int, number: int, rules: GateParams, step: float, *, remember: bool) -> tuple[int, float]:
    """Retrainings one after the other, each worse than the one before by `step` points on every target.

    Returns:
        How many were refused, and the points of mean accuracy that service truly lost in the end.
    """
    lab = Lab(images, np.random.default_rng((images, number, 1)))
    shares = first = lab.trained({})
    now = best = lab.judged(shares)
    times = 0
    for turn in range(1, RETRAININGS + 1):
        candidate = lab.trained(losses(EVERY, step * turn))
        new = lab.judged(candidate)
        rival = Reference("best", best) if remember and best is not now else None
        if refused(new, now, rules, rival):
            times += 1
            continue
        shares, now = candidate, new
        best = max(best, new, key=lambda encoder: encoder.mean(list(TARGETS)))
    return times, 100 * float(np.mean([first[name] - shares[name] for name in TARGETS]))


def rows(rules: GateParams, draws: int) -> Iterator[list[str]]:
    """Shares of pairs that are refused, in %."""
    cases: list[tuple[str, Shares, float]] = [
        ("equal, the images alone are luck", {}, 0.0),
        ("equal, of another seed", {}, 1.0),
        *((f"{points} points lost on {what}", losses(what, points), 1.0) for what, points in LOSSES),
    ]
    for words, lost, spread in cases:
        rates = [f"{100 * pairs(size, draws, rules, lost, spread):.1f}" for size in SIZES]
        print(words, *rates, flush=True)
        yield [words, *rates]


def years(rules: GateParams, draws: int) -> Iterator[list[str]]:
    """What retrainings in a row end with."""
    for step in (0.0, 1.0, 2.0):
        row = [f"each {step:g} points worse than the last"]
        for remember in (False, True):
            found = [year(YEAR_IMAGES, number, rules, step, remember=remember) for number in range(draws)]
            times, lost = np.mean(found, axis=0)
            row.append(f"{times:.1f} refused, {lost:.1f} points lost in the end")
        print(*row, flush=True)
        yield row


def agreement() -> str:
    """How much the answers of two equal encoders agree here."""
    lab = Lab(100_000, np.random.default_rng(0))
    shares = {name: accuracy / 100 for name, (accuracy, _) in TARGETS.items()}
    one, other = lab.judged(shares), lab.judged(shares)
    phi = [correlation(one.correct[name], other.correct[name]) for name in TARGETS]
    return f"{min(phi):.2f} to {max(phi):.2f}"


def main(draws: Annotated[int, typer.Option(help="Pairs for each cell.")] = 1000) -> None:
    """Simulate, and write benchmarks/results/gate.md."""
    rules = load_params().gate
    page = TEXT.format(
        draws=draws,
        years=draws // 10,
        error=100 * 1.96 * np.sqrt(0.05 * 0.95 / draws),
        command=f"python -m benchmarks.gate --draws {draws}",
        mean=100 * rules.max_mean_drop,
        task=100 * rules.max_task_drop,
        retrainings=RETRAININGS,
        images=YEAR_IMAGES,
        phi=agreement(),
        targets=len(TARGETS),
        table="\n".join(table(("% refused", *(f"{size:,} images" for size in SIZES)), rows(rules, draws))),
        years_table="\n".join(table(HELD, years(rules, draws // 10))),
    )
    write_text(RESULTS / "gate.md", page)


if __name__ == "__main__":
    typer.run(main)
