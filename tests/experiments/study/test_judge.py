"""Paired effects, their correction, and the words for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from infocl.experiments.study.judge import Effect, Judgement, holm, judge, paired_p, sentence
from infocl.experiments.study.plan import Method
from infocl.experiments.table.stats import Estimate

PLAIN, RC = Method("simclr", "none", None), Method("simclr", "rc", 1.0)
LBE = Method("simclr", "lbe", 0.1)


def test_p_is_that_of_students_t_on_the_differences():
    differences = [0.1, 0.25, -0.05, 0.3]
    mean = sum(differences) / 4
    deviation = math.sqrt(sum((value - mean) ** 2 for value in differences) / 3)
    expected = 2 * student.sf(mean / (deviation / 2), 3)
    assert paired_p(differences) == pytest.approx(expected, rel=1e-12)
    assert paired_p([0.1]) is None
    assert paired_p([0.2, 0.2]) == 0.0
    assert paired_p([0.0, 0.0, 0.0]) == 1.0


def test_holm_rejects_what_the_step_by_step_procedure_rejects():
    """Holm 1979: the k-th smallest of m must be below level / (m - k + 1), or it and all later ones stay."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    draw = np.random.default_rng(0)
    for _ in range(200):
        p, level = draw.uniform(0, 0.2, 6), draw.uniform(0.01, 0.5)
        rejected = set()
        for rank, index in enumerate(np.argsort(p)):
            if p[index] >= level / (len(p) - rank):
                break
            rejected.add(index)
        assert {index for index, value in enumerate(holm(p)) if value < level} == rejected


def test_effects_are_paired_with_the_same_seeds_of_the_same_objective():
    measured = {
        PLAIN: {0: {"hue": 0.3, "place": 0.9}, 1: {"hue": 0.4, "place": 0.9}, 2: {"hue": 0.35, "place": 0.9}},
        RC: {0: {"hue": 0.9, "place": 0.91}, 2: {"hue": 0.96, "place": 0.89}, 7: {"hue": 0.1, "place": 0.1}},
        Method("byol", "rc", 1.0): {0: {"hue": 0.5}},
    }
    plain, rc, byol = judge(measured)
    assert plain.effects == {}
    assert byol.effects == {}
    assert rc.accuracy["hue"].seeds == 3
    assert rc.effects["hue"].difference.mean == pytest.approx(((0.9 - 0.3) + (0.96 - 0.35)) / 2)
    assert rc.effects["hue"].difference.seeds == 2
    assert rc.effects["hue"].p == pytest.approx(2 * paired_p([0.6, 0.61]), rel=1e-9)
    assert rc.effects["hue"].shown
    assert not rc.effects["place"].shown


def test_a_second_method_makes_the_correction_stricter():
    runs = {seed: {"hue": 0.5 + 0.01 * seed} for seed in range(3)}
    better = {seed: {"hue": 0.6 + 0.02 * seed} for seed in range(3)}
    noise = {seed: {"hue": 0.5 + 0.03 * (seed == 1)} for seed in range(3)}
    alone = judge({PLAIN: runs, RC: better})[1].effects["hue"].p
    beside = judge({PLAIN: runs, RC: better, LBE: noise})[1].effects["hue"].p
    assert beside == pytest.approx(2 * alone)


def test_words_only_where_the_figures_allow_them():
    def effect(mean, p):
        return Effect(Estimate(mean, 0.01, 3), p)

    effects = {"hue": effect(0.64, 0.001), "shape": effect(-0.035, 0.02), "place": effect(0.2, 0.06)}
    assert sentence(Judgement(RC, {}, effects)) == (
        "SimCLR + RC (λ = 1) raises hue (+64.0 ± 1.0); lowers shape (-3.5 ± 1.0); "
        "no difference is shown on place."
    )
    assert sentence(Judgement(RC, {}, {"hue": effect(0.2, 0.06)})) == (
        "SimCLR + RC (λ = 1): no difference is shown on hue."
    )
    alone = {"hue": Effect(Estimate(0.6, None, 1), None)}
    assert sentence(Judgement(RC, {}, alone)) == "SimCLR + RC (λ = 1): one seed allows no statement."
    assert sentence(Judgement(RC, {}, {})) == "SimCLR + RC (λ = 1): there is nothing to compare it with yet."
