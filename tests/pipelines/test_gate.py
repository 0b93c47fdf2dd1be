"""The gate: its interval against naive computations and published figures, each check on both sides."""

from __future__ import annotations

import functools
import json
import math

import numpy as np
import pytest
from scipy.optimize import brentq

from infocl.config import GateParams
from infocl.config.file import load_params
from infocl.results.card import CardMetrics, Parity, TaskScore
from pipelines.gate import ExportedEncoder, _mean, difference, judge, unreachable
from tests.pipelines.exports import task
from tests.workspace import ROOT

Z = 1.959963984540054
WIDE = {"min_lead": -1.0, "max_mean_drop": 1.0, "max_task_drop": 1.0, "floors": {}, "max_size_ratio": 1.5}


def rules(**changes):
    return GateParams(**(WIDE | {"max_latency_ratio": 2.0} | changes))


def encoder(size=1000, seconds=None, error=1e-6, source=(30, 60), **targets):
    """Targets as (right, test images)."""
    parity = Parity(max_relative_error=error, tolerance=1e-5)
    rows = {name: accuracy(*counts) for name, counts in targets.items()}
    metrics = CardMetrics(source=source and accuracy(*source), transfer=rows)
    return ExportedEncoder(metrics, parity, size, seconds)


@functools.cache
def accuracy(right, images):
    return TaskScore(**task(right, images))


def row(right, images):
    return (task(right, images)["accuracy"], *task(right, images)["accuracy_ci95"])


def failed(verdict):
    return [check.what for check in verdict.checks if not check.passed]


def wilson_limit(right, images, side):
    """The share whose score test just rejects `right` of `images`, by bisection."""
    share = right / images

    def score(limit):
        return share - limit - side * Z * math.sqrt(limit * (1 - limit) / images)

    if score(0.0 if side > 0 else 1.0) == 0:
        return 0.0 if side > 0 else 1.0
    return brentq(score, 0.0, share, xtol=1e-14) if side > 0 else brentq(score, share, 1.0, xtol=1e-14)


def newcombe(a, m, b, n):
    """Method 10 as Newcombe prints it: by the variances at the Wilson limits, not by distances to them."""
    (l1, l2), (u1, u2) = ([wilson_limit(*pair, side) for pair in ((a, m), (b, n))] for side in (1, -1))
    delta = Z * math.sqrt(l1 * (1 - l1) / m + u2 * (1 - u2) / n)
    epsilon = Z * math.sqrt(u1 * (1 - u1) / m + l2 * (1 - l2) / n)
    return a / m - b / n, a / m - b / n - delta, a / m - b / n + epsilon


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table II, method 10
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000),
    ],
)
def test_the_difference_is_newcombes_published_figure(a, m, b, n, low, high):
    change, found_low, found_high = difference(row(a, m), row(b, n))
    assert change == pytest.approx(a / m - b / n)
    assert (round(found_low, 4), round(found_high, 4)) == (low, high)


def test_the_difference_is_that_of_a_naive_computation_by_variances():
    generator = np.random.default_rng(0)
    for _ in range(200):
        m, n = (int(value) for value in generator.integers(5, 2000, 2))
        a, b = int(generator.integers(1, m)), int(generator.integers(1, n))
        assert difference(row(a, m), row(b, n)) == pytest.approx(newcombe(a, m, b, n), abs=1e-9)


def test_the_mean_of_one_task_is_that_task_and_of_equal_tasks_is_narrower_by_the_root():
    one = row(80, 100)
    assert _mean([one]) == pytest.approx(one)
    mean, low, high = _mean([one] * 4)
    assert mean == pytest.approx(0.8)
    assert 0.8 - low == pytest.approx((0.8 - one[1]) / 2)
    assert high - 0.8 == pytest.approx((one[2] - 0.8) / 2)


def test_the_interval_of_the_mean_difference_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    images, new, now = (150, 400, 60), (0.9, 0.5, 0.75), (0.95, 0.55, 0.6)
    truth, held, draws = float(np.mean(new) - np.mean(now)), 0, 1500
    known = {(right, count): row(right, count) for count in images for right in range(count + 1)}
    for _ in range(draws):
        means = [
            _mean(
                [
                    known[int(generator.binomial(count, share)), count]
                    for count, share in zip(images, shares, strict=True)
                ]
            )
            for shares in (new, now)
        ]
        _, low, high = difference(*means)
        held += low <= truth <= high
    assert 0.94 <= held / draws <= 0.965


def test_the_results_in_this_repository_pass_the_shipped_rules_against_themselves():
    """Rules that refuse an encoder that is exactly as good would refuse every retraining."""
    results = json.loads((ROOT / "metrics/transfer.json").read_text())
    rows = {
        name: (round(449 * value["accuracy"]), 449)  # as many test images as the smallest target has
        for name, value in results.items()
        if isinstance(value, dict)
    }
    assert len(rows) == len(load_params(ROOT / "params.yaml").transfer.targets)
    same = encoder(1000, 0.01, **rows)
    verdict = judge(same, same, load_params(ROOT / "params.yaml").gate)
    assert verdict.passed, verdict.reason
    assert len(verdict.checks) == 2 + 1 + len(rows) + 1 + 2
    assert verdict.reason == f"all {len(rows) + 6} checks passed"
    mean = next(check for check in verdict.checks if check.what == f"mean of {len(rows)} targets")
    assert float(mean.new.removesuffix(" %")) == pytest.approx(100 * results["mean_accuracy"], abs=0.2)


@pytest.mark.parametrize("which", ["max_mean_drop", "max_task_drop"])
def test_a_drop_passes_up_to_the_low_end_of_its_interval_and_is_refused_beyond(which):
    new, now = encoder(digits=(850, 1000)), encoder(digits=(870, 1000))
    _, low, _ = difference(row(850, 1000), row(870, 1000))
    assert low < -0.02, "more than the difference itself, because the interval's end counts"
    assert judge(new, now, rules(**{which: -low + 1e-9})).passed
    verdict = judge(new, now, rules(**{which: -low - 1e-9}))
    what = "mean of 1 targets" if which == "max_mean_drop" else "digits"
    assert failed(verdict) == [what]
    assert verdict.reason == (
        f"{what}: 85.0 % against 87.0 %, -2.0 points (95 %: {100 * low:+.1f} to +1.0), "
        f"the low end must be at least {100 * low:+.1f}"
    )


def test_a_better_encoder_passes_the_strictest_rule():
    assert judge(
        encoder(digits=(950, 1000)), encoder(digits=(850, 1000)), rules(max_mean_drop=0.0, max_task_drop=0.0)
    ).passed


def test_the_mean_may_hide_what_a_single_task_shows():
    new = encoder(hue=(990, 1000), digits=(700, 1000))
    now = encoder(hue=(800, 1000), digits=(800, 1000))
    assert failed(judge(new, now, rules(max_mean_drop=0.0, max_task_drop=0.05))) == ["digits"]


def test_only_targets_that_both_have_are_compared():
    new, now = (
        encoder(digits=(500, 1000), hue=(900, 1000)),
        encoder(scale=(999, 1000), hue=(900, 1000), photos=(999, 1000)),
    )
    verdict = judge(new, now, rules(max_mean_drop=0.05, max_task_drop=0.05))
    assert verdict.passed
    assert [check.what for check in verdict.checks if not check.what.endswith(", lead")] == [
        "mean of 1 targets",
        "hue",
        "agreement with torch",
        "size",
    ]


def test_no_target_in_common_is_refused():
    verdict = judge(encoder(hue=(9, 10)), encoder(digits=(9, 10), photos=(9, 10)), rules())
    assert failed(verdict) == ["targets"]
    assert verdict.reason == "targets: hue against digits, photos, none in common to compare"


@pytest.mark.parametrize(("floor", "passes"), [(0.8, True), (0.8000001, False)])
def test_a_floor_holds_for_a_target_and_for_the_mean(floor, passes):
    new = encoder(digits=(800, 1000), hue=(800, 1000))
    for name in ("digits", "mean"):
        verdict = judge(new, None, rules(floors={name: floor}))
        assert failed(verdict) == ([] if passes else [f"{name}, floor"])
    assert judge(
        encoder(digits=(700, 1000), hue=(900, 1000)), None, rules(floors={"mean": floor})
    ).passed == (passes)


def test_a_floor_of_a_target_that_was_not_measured_is_not_met():
    verdict = judge(encoder(digits=(9, 10)), None, rules(floors={"hue": 0.0}))
    assert failed(verdict) == ["hue, floor"]
    assert "not measured" in verdict.reason


def test_without_an_encoder_in_service_only_floors_and_agreement_count():
    verdict = judge(encoder(digits=(1, 1000)), None, rules(max_mean_drop=0.0, max_task_drop=0.0))
    assert [check.what for check in verdict.checks] == [
        "mean of 1 target, lead",
        "source, lead",
        "agreement with torch",
    ]
    assert verdict.passed


@pytest.mark.parametrize(
    ("right", "source", "refused"),
    [
        (400, 30, []),
        (80, 30, ["mean of 1 target, lead"]),  # a low end of 14.4 % against 10 %
        (86, 30, []),  # 15.7 %
        (400, 7, ["source, lead"]),
        (400, None, []),  # without labels
    ],
)
def test_a_first_encoder_must_beat_naming_the_most_frequent_class(right, source, refused):
    """By the shipped rules, which name no floor."""
    new = encoder(digits=(right, 449), source=source and (source, 60))
    verdict = judge(new, None, load_params(ROOT / "params.yaml").gate)
    assert failed(verdict) == refused
    if refused == ["source, lead"]:
        assert verdict.reason == (
            "source, lead: 11.7 %, the low end 5.8 % is -4.2 points from naming the most frequent class, "
            "must be at least +5.0"
        )


def test_a_margin_that_too_few_test_images_cannot_show_is_named_with_what_it_needs():
    narrow = rules(max_mean_drop=0.06, max_task_drop=0.05)
    assert list(unreachable(encoder(digits=(1400, 1500), hue=(1400, 1500)), narrow)) == []
    (line,) = unreachable(encoder(digits=(1400, 1500), hue=(54, 60)), narrow)
    assert line == (
        "gate.max_task_drop 0.05 is out of reach for hue: with 60 test images even an encoder of the same "
        "accuracy (90.0 %) needs 0.115; raise it, or test on about 316 images"
    )
    enough = encoder(hue=(288, 320))
    assert judge(enough, enough, rules(max_task_drop=0.05)).passed
    (line,) = unreachable(enough, rules(max_mean_drop=0.0))
    assert line.endswith("needs 0.048; raise it")


# On the data set scenes: accuracy of the run that was the default, standard deviation between seeds pooled
# over the 64 rows of benchmarks/results/matrix.md, test images.
SCENES = {
    "hue": (97.2, 8.8, 1500),
    "position": (77.5, 3.3, 1500),
    "scale": (87.0, 2.4, 1500),
    "tilt": (85.9, 2.6, 1500),
    "scenery": (44.1, 3.1, 1500),
    "digits": (96.7, 4.5, 449),
    "photos": (47.2, 4.7, 1200),
}


@pytest.mark.parametrize(
    ("loss", "least", "most"),
    [({}, 0.0, 0.05), (dict.fromkeys(SCENES, 8.0), 0.85, 1.0), ({"position": 25.0}, 0.9, 1.0)],
)
def test_the_shipped_margins_refuse_at_most_one_in_twenty_equal_retrainings(loss, least, most):
    """Both encoders scatter about these accuracies as seeds do; the new one has lost so many points."""
    generator = np.random.default_rng(0)
    shipped = load_params(ROOT / "params.yaml").gate

    def drawn(name, lost):
        accuracy, spread, images = SCENES[name]
        points = accuracy - lost + generator.normal(0, spread)
        return int(np.clip(round(points * images / 100), 0, images)), images

    draws = 400
    refused = 0
    for _ in range(draws):
        new = encoder(**{name: drawn(name, loss.get(name, 0.0)) for name in SCENES})
        now = encoder(**{name: drawn(name, 0.0) for name in SCENES})
        drops = [check for check in judge(new, now, shipped).checks if "low end must be" in check.rule]
        assert len(drops) == 8
        refused += not all(check.passed for check in drops)
    assert least <= refused / draws <= most


def test_agreement_with_torch_is_required_at_the_tolerance_of_the_export():
    assert judge(encoder(error=1e-5, digits=(9, 10)), None, rules()).passed
    assert failed(judge(encoder(error=1.01e-5, digits=(9, 10)), None, rules())) == ["agreement with torch"]


def test_size_and_time_are_ratios_of_new_to_the_one_in_service():
    now = encoder(size=1000, seconds=0.010, digits=(9, 10))
    assert judge(encoder(size=1500, seconds=0.020, digits=(9, 10)), now, rules()).passed
    verdict = judge(encoder(size=1501, seconds=0.0201, digits=(9, 10)), now, rules())
    assert failed(verdict) == ["size", "64 images"]
    assert "64 images: 20.1 ms against 10.0 ms, 2.01 times, at most 2 times" in verdict.reason
    assert judge(encoder(size=10, seconds=0.001, digits=(9, 10)), now, rules()).passed
