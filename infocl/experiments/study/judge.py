"""What the figures of a study allow to say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ttest_1samp

from infocl.experiments.study.plan import CONTROL, Method
from infocl.experiments.table.stats import Estimate, estimate, in_percent

LEVEL = 0.05  # of the whole study, after Holm's correction

Accuracies = Mapping[str, float]  # by task, as shares in 0..1
Measured = Mapping[Method, Mapping[int, Accuracies]]  # by seed


class Effect(NamedTuple):
    """Difference of one task's accuracy to the objective without regulariser, paired over seeds.

    `p` is of Student's t test, corrected by Holm for all effects of the study; None from a single seed.
    """

    difference: Estimate
    p: float | None

    @property
    def shown(self) -> bool:
        """Whether the study shows it, at 5 % for all effects together."""
        return self.p is not None and self.p < LEVEL


class Judgement(NamedTuple):
    """One method: accuracy by task, and its effects, none for the objective without regulariser."""

    method: Method
    accuracy: dict[str, Estimate]
    effects: dict[str, Effect]


def judge(measured: Measured) -> list[Judgement]:
    """Means over seeds, and paired differences to the control of the same objective, corrected together."""
    differences = {
        (method, task): found
        for method in measured
        if method.regularizer != CONTROL
        for task, found in _differences(measured, method).items()
    }
    tested = {key: p for key, found in differences.items() if (p := paired_p(found)) is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    return [
        Judgement(
            method,
            {task: known for task, found in _by_task(runs).items() if (known := estimate(found))},
            {
                task: Effect(known, corrected.get((of, task)))
                for (of, task), found in differences.items()
                if of == method and (known := estimate(found))
            },
        )
        for method, runs in measured.items()
    ]


def _by_task(runs: Mapping[int, Accuracies]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for accuracies in runs.values():
        for task, accuracy in accuracies.items():
            found[task].append(accuracy)
    return found


def _differences(measured: Measured, method: Method) -> dict[str, list[float]]:
    control = measured.get(Method(method.objective, CONTROL, None), {})
    runs = measured[method]
    pairs = {
        seed: {task: runs[seed][task] - control[seed][task] for task in runs[seed] if task in control[seed]}
        for seed in runs
        if seed in control
    }
    return _by_task(pairs)


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's t test that paired differences (n,) have mean 0; None of fewer than two.

    Differences that are all alike have no spread to test by: p is 1 where they are 0, and 0 elsewhere.
    """
    if len(differences) < 2:
        return None
    if np.ptp(differences) == 0:
        return float(differences[0] == 0)
    return float(ttest_1samp(differences, 0.0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p values (m,) in 0..1, corrected so that the chance of any false finding among m stays below the level.

    Reference: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979.
    """
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    stepped = np.maximum.accumulate(np.minimum(1.0, np.asarray(p, dtype=float)[order] * factors))
    corrected = np.empty(len(p))
    corrected[order] = stepped
    return [float(value) for value in corrected]


def sentence(judgement: Judgement) -> str:
    """One sentence: which tasks the method raises and lowers, and for which no difference is shown."""
    if not judgement.effects:
        return f"{judgement.method.title}: there is nothing to compare it with yet."
    if all(effect.p is None for effect in judgement.effects.values()):
        return f"{judgement.method.title}: one seed allows no statement."
    kinds = {
        "raises": [task for task, effect in judgement.effects.items() if _direction(effect) > 0],
        "lowers": [task for task, effect in judgement.effects.items() if _direction(effect) < 0],
    }
    open_tasks = [task for task, effect in judgement.effects.items() if not effect.shown]
    parts = [
        f"{verb} {', '.join(f'{task} ({points(judgement.effects[task].difference)})' for task in tasks)}"
        for verb, tasks in kinds.items()
        if tasks
    ]
    lead = " " if parts else ": "
    if open_tasks:
        parts.append(f"no difference is shown on {', '.join(open_tasks)}")
    return f"{judgement.method.title}{lead}{'; '.join(parts)}."


def _direction(effect: Effect) -> float:
    return effect.difference.mean if effect.shown else 0.0


def points(found: Estimate) -> str:
    """Such as "+64.0 ± 11.2", in points."""
    return in_percent(found, "+.1f")
