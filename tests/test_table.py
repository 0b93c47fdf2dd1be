"""The table of experiments: intervals, pairing, grouping, and what is left out."""

from __future__ import annotations

import copy
import csv
import io
import itertools
import json
import math
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from infocl.cli import app
from infocl.errors import UserError
from infocl.table.build import build_sections
from infocl.table.experiments import read_experiments
from infocl.table.published import read_published
from infocl.table.show import as_csv, as_markdown
from infocl.table.stats import estimate, paired_difference
from tests.workspace import SHIPPED

TARGETS = ["hue", "digits"]
ACCURACIES = st.lists(st.floats(0, 1), min_size=2, max_size=8)
HASHES = {"models/pretrain": {"hash": "a"}, "models/features": {"hash": "b"}}
COUNTER = itertools.count()


def params(**changes):
    """params.yaml with changes such as `reg__weight=0.1`."""
    raw = copy.deepcopy(SHIPPED)
    raw["transfer"]["targets"] = TARGETS
    for name, value in changes.items():
        *parents, last = name.split("__")
        node = raw
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return raw


def experiment(accuracy, *, state="success", source=0.5, rev=None, time=None, deps=HASHES, **changes):
    """One row of `dvc exp show --json`; `accuracy` of each target."""
    raw = params(**changes)
    number = next(COUNTER)
    rows = {target: {"accuracy": value} for target, value in zip(TARGETS, accuracy, strict=True)}
    probe = {"rankme": 3.0} if source is None else {"rankme": 3.0, "accuracy": source}
    data = {
        "timestamp": time or f"2026-01-01T00:00:{number % 60:02}",
        "params": {"params.yaml": {"data": raw}},
        "metrics": {
            "metrics/transfer.json": {"data": rows | {"mean_accuracy": -1}},
            "metrics/probe.json": {"data": probe},
        },
        "deps": dict(deps),
        "outs": HASHES,
    }
    executor = {"state": state} if state else None
    rev = rev or f"{number:040x}"
    return {
        "revs": [{"rev": rev, "name": None, "error": None, "data": data}],
        "executor": executor,
        "name": rev,
    }


def shown(*rows):
    return json.dumps([{"rev": "workspace", "experiments": None}, {"rev": "0", "experiments": list(rows)}])


def sections(*rows, published=None):
    return build_sections(read_experiments(shown(*rows)).finished, published)


def runs_of(regularizer, means, **changes):
    """One experiment for each seed, whose two targets average to the value."""
    return [
        experiment((mean - 0.1, mean + 0.1), reg__name=regularizer, seed=seed, **changes)
        for seed, mean in enumerate(means)
    ]


@given(ACCURACIES)
def test_intervals_are_students(values):
    found = estimate(values)
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=np.mean(values), scale=max(stats.sem(values), 1e-300)
    )
    assert found.seeds == len(values)
    assert found.mean == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert found.half_width == pytest.approx((high - low) / 2, abs=1e-9)


def test_the_interval_of_two_in_closed_form():
    """With one degree of freedom t is Cauchy: its 97.5 % point is tan(0.475 pi)."""
    found = estimate([0.2, 0.6])
    assert found.mean == pytest.approx(0.4)
    assert found.half_width == pytest.approx(math.tan(0.475 * math.pi) * 0.4 / 2)


def test_one_seed_has_no_interval_and_none_no_estimate():
    assert estimate([0.3]) == (0.3, None, 1)
    assert estimate([]) is None
    assert paired_difference({0: 0.1}, {1: 0.1}) is None


@given(
    st.dictionaries(st.integers(0, 9), st.floats(0, 1)), st.dictionaries(st.integers(0, 9), st.floats(0, 1))
)
def test_differences_are_paired_over_common_seeds(first, second):
    common = [seed for seed in range(10) if seed in first and seed in second]
    found = paired_difference(first, second)
    if not common:
        assert found is None
        return
    naive = [first[seed] - second[seed] for seed in common]
    assert found.mean == pytest.approx(sum(naive) / len(naive), abs=1e-12)
    assert found.seeds == len(common)
    if len(common) > 1:
        mean = sum(naive) / len(naive)
        variance = sum((value - mean) ** 2 for value in naive) / (len(naive) - 1)
        half = stats.t.ppf(0.975, len(naive) - 1) * math.sqrt(variance / len(naive))
        assert found.half_width == pytest.approx(half, abs=1e-9)


def test_rows_hold_means_and_paired_differences():
    (section,) = sections(
        *runs_of("none", [0.50, 0.60, 0.70]), *runs_of("rc", [0.55, 0.66, 0.77]), *runs_of("lbe", [0.5, 0.6])
    )
    plain, rc, lbe = section.rows
    assert [row.label for row in section.rows] == ["SimCLR", "SimCLR + RC (λ = 1)", "SimCLR + LBE (λ = 1)"]
    assert section.targets == TARGETS
    assert plain.mean.mean == pytest.approx(0.6)
    assert plain.accuracy["hue"].mean == pytest.approx(0.5)
    assert plain.accuracy["digits"].mean == pytest.approx(0.7)
    assert plain.to_plain is None
    assert plain.to_noise is None
    assert rc.to_plain.mean == pytest.approx(0.06)
    assert rc.to_plain.half_width == pytest.approx(stats.t.ppf(0.975, 2) * 0.01 / math.sqrt(3))
    assert rc.to_plain.half_width < rc.mean.half_width / 5, "seeds are paired"
    assert (lbe.to_plain.mean, lbe.to_plain.seeds) == (pytest.approx(0), 2)
    assert rc.to_noise is None
    assert not section.settings


def test_noise_is_a_second_control():
    noise = {"reg__noise": {"sigma": 0.1}}
    (section,) = sections(
        *runs_of("none", [0.5, 0.5]), *runs_of("noise", [0.6, 0.5], **noise), *runs_of("rc", [0.8, 0.7])
    )
    rows = {row.regularizer: row for row in section.rows}
    assert rows["rc"].to_noise.mean == pytest.approx(0.2)
    assert rows["rc"].to_plain.mean == pytest.approx(0.25)
    assert rows["noise"].to_plain.mean == pytest.approx(0.05)
    assert rows["noise"].to_noise is None
    assert rows["noise"].label == "SimCLR + noise only"
    assert "to noise" in as_markdown(section)
    (section,) = sections(
        *runs_of("noise", [0.6], **noise),
        *runs_of("noise", [0.5], reg__noise={"sigma": 0.2}),
        *runs_of("rc", [0.8]),
    )
    assert all(row.to_noise is None for row in section.rows), "which noise would be arbitrary"


def test_only_equal_settings_are_compared():
    (section,) = sections(
        *runs_of("none", [0.5, 0.6]),
        *runs_of("rc", [0.9, 0.9], train__epochs=80),
        *runs_of("lbe", [0.7, 0.8], train__epochs=40.0, train__device="cuda", export__opset=19),
    )
    rows = {row.regularizer: row for row in section.rows}
    assert rows["rc"].to_plain is None
    assert rows["lbe"].to_plain.mean == pytest.approx(0.2)
    assert section.settings == {"A": {"train.epochs": "40"}, "B": {"train.epochs": "80"}}
    assert (rows["none"].setting, rows["lbe"].setting, rows["rc"].setting) == ("A", "A", "B")
    assert "| setting |" in as_markdown(section)


@pytest.mark.parametrize(
    "change",
    [
        {"views__flip_p": 0.1},
        {"encoder__width": 0.5},
        {"data__scenes__seed": 3},
        {"train__batch_size": 64},
        {"probe__knn_k": 7},
        {"objective__simclr__temperature": 0.1},
    ],
)
def test_whatever_shapes_a_figure_keeps_runs_apart(change):
    (section,) = sections(*runs_of("none", [0.5]), *runs_of("rc", [0.6], **change))
    assert all(row.to_plain is None for row in section.rows)


def test_knobs_of_other_methods_do_not_matter():
    (section,) = sections(
        *runs_of("none", [0.5], reg__lbe__sigma=3.0, reg__weight=9.0),
        experiment((0.6, 0.6), reg__name="none", seed=1),
    )
    (row,) = section.rows
    assert row.mean.seeds == 2


def test_rows_that_would_read_alike_name_their_knobs():
    (section,) = sections(*runs_of("lbe", [0.5]), *runs_of("lbe", [0.6], reg__lbe__views="per_view"))
    assert [row.label for row in section.rows] == [
        "SimCLR + LBE (λ = 1), reg.lbe.views joint",
        "SimCLR + LBE (λ = 1), reg.lbe.views per_view",
    ]


def test_weights_are_rows_of_their_own():
    (section,) = sections(*runs_of("rc", [0.6], reg__weight=1), *runs_of("rc", [0.5], reg__weight=0.1))
    assert [row.weight for row in section.rows] == [0.1, 1]


def test_the_later_of_two_equal_runs_counts():
    old = experiment((0.1, 0.1), time="2026-01-01T10:00:00")
    new = experiment((0.3, 0.3), time="2026-01-02T09:00:00")
    (section,) = sections(new, old)
    assert section.rows[0].mean == pytest.approx((0.3, None, 1))
    assert section.repeated == 1


def test_unfinished_experiments_are_left_out_and_counted():
    stale = HASHES | {"models/pretrain": {"hash": "of another run"}}
    partly = experiment((0.5, 0.5))
    del partly["revs"][0]["data"]["metrics"]["metrics/transfer.json"]["data"]["hue"]
    empty = experiment((0.5, 0.5))
    empty["revs"][0]["data"] = None
    found = read_experiments(
        shown(
            experiment((0.5, 0.5), state=None),
            experiment((0.5, 0.5), state="running"),
            experiment((0.5, 0.5), state="queued"),
            experiment((0.5, 0.5), state="queued"),
            experiment((0.5, 0.5), state="failed"),
            experiment((0.5, 0.5), deps=stale),
            partly,
            empty,
        )
    )
    assert len(found.finished) == 1
    assert found.left_out == {
        "running": 1,
        "queued": 2,
        "failed": 1,
        "partly run": 1,
        "without transfer metrics": 1,
        "unreadable": 1,
    }


def test_an_experiment_shown_under_two_commits_counts_once():
    row = experiment((0.5, 0.5))
    text = json.dumps([{"rev": "1", "experiments": [row]}, {"rev": "2", "experiments": [row]}])
    assert len(read_experiments(text).finished) == 1


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_experiments_does_not_matter(shuffler: random.Random):
    rows = [
        *runs_of("none", [0.50, 0.60, 0.70]),
        *runs_of("rc", [0.55, 0.66, 0.77]),
        *runs_of("rc", [0.5, 0.6], reg__weight=0.1),
        *runs_of("lbe", [0.5], train__epochs=2),
        experiment((0.4, 0.4), data__name="cifar10"),
        experiment((0.1, 0.1), time="2026-01-01T00:00:00", rev="f" * 40, seed=9),
        experiment((0.2, 0.2), time="2026-01-01T00:00:00", rev="e" * 40, seed=9),
    ]
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    paper = read_published("cifar10")
    assert sections(*shuffled, published=paper) == sections(*rows, published=paper)


def test_data_without_labels_have_no_source_accuracy():
    (section,) = sections(experiment((0.5, 0.5), source=None))
    assert "source" not in section.rows[0].accuracy
    assert "| 1 | - | 50.0 |" in as_markdown(section)


def test_published_figures_stand_below_ours():
    (section,) = sections(
        experiment((0.5, 0.5), data__name="cifar10", reg__name="none"), published=read_published("cifar10")
    )
    ours, theirs = section.rows[:2]
    assert (ours.label, theirs.label) == ("SimCLR", "SimCLR, published")
    assert section.targets == [*TARGETS, "dtd", "mnist", "fashionmnist", "cub", "flowers", "traffic"]
    assert len(section.rows) == 16
    assert theirs.accuracy["flowers"].mean == pytest.approx(0.4281)
    rc = next(row for row in section.rows if row.regularizer == "rc" and row.objective == "simclr")
    six, plain = [33.67, 97.99, 90.31, 10.89, 54.16, 95.84], [29.52, 97.03, 88.36, 8.87, 42.81, 92.41]
    assert 100 * rc.to_plain.mean == pytest.approx((sum(six) - sum(plain)) / 6)
    assert rc.to_plain.half_width is None


@pytest.mark.parametrize(
    ("name", "rows", "method", "column", "percent"),
    [  # typed anew from the paper
        ("cifar10", 15, ("simclr", "mib"), "source", 86.20),
        ("cifar10", 15, ("supervised", "lbe"), "traffic", 94.47),
        ("cifar10", 15, ("byol", "rc"), "mnist", 98.07),
        ("stl10", 9, ("barlow_twins", "none"), "dtd", 36.86),
        ("stl10", 9, ("simclr", "lbe"), "traffic", 87.77),
        ("imagenet", 3, ("simclr", "rc"), "cifar100", 63.56),
        ("imagenet", 3, ("simclr", "lbe"), "source", 61.37),
    ],
)
def test_published_figures(name, rows, method, column, percent):
    table = read_published(name)
    assert len(table.rows) == rows
    (row,) = [row for row in table.rows if (row.objective, row.regularizer) == method]
    assert row.accuracy[column] == pytest.approx(percent / 100)


def test_a_folder_is_imagenet_by_its_name():
    folder = {"data__name": "folder", "data__root": "/disk/imagenet", "reg__name": "none"}
    (section,) = sections(experiment((0.5, 0.5), **folder), published=read_published("imagenet"))
    assert [row.published for row in section.rows] == [False, True, True, True]
    ours, theirs = sections(
        experiment((0.5, 0.5), **folder | {"data__root": "pets"}), published=read_published("imagenet")
    )
    assert {row.published for row in theirs.rows} | {row.published for row in ours.rows} == {True, False}
    assert {len(ours.rows), len(theirs.rows)} == {1, 3}


def table(text, *arguments):
    return CliRunner().invoke(app, ["table", "--file", "-", *arguments], input=text)


ROWS = [*runs_of("none", [0.5, 0.6]), *runs_of("rc", [0.7, 0.9])]


def test_csv_carries_the_same_figures_as_markdown():
    result = table(shown(*ROWS, experiment((0, 0), state="running")), "--format", "csv")
    assert result.exit_code == 0
    plain, rc = csv.DictReader(io.StringIO(result.stdout))
    assert (plain["objective"], plain["regularizer"], plain["seeds"]) == ("simclr", "none", "2")
    assert float(rc["mean"]) == pytest.approx(80)
    assert float(rc["to_plain"]) == pytest.approx(25)
    assert float(rc["to_plain_ci95_half"]) == pytest.approx(math.tan(0.475 * math.pi) * 5, rel=1e-5)
    assert plain["to_plain"] == plain["to_plain_ci95_half"] == ""
    assert "Left out: 1 running." in result.stderr
    markdown = table(shown(*ROWS), "--format", "markdown").stdout
    assert f"| +25.0 ± {float(rc['to_plain_ci95_half']):.1f} |" in markdown


def test_the_terminal_shows_every_row():
    result = table(shown(*ROWS), "--paper", "cifar10")
    assert result.exit_code == 0
    assert re.search(r"SimCLR \+ RC \(λ = 1\) +│ 2 │", result.stdout)
    assert "SimCLR + noise only, published" in result.stdout
    assert "85.76" in result.stdout


def test_markdown_columns_agree():
    text = as_markdown(sections(*ROWS)[0])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert as_csv([]).count("\n") == 1


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("{", [], "not the output of `dvc exp show --json`"),
        ('[{"rev": "x"}]', [], "not the output of `dvc exp show --json`"),
        (shown(experiment((0, 0), state="failed")), [], "no finished experiment (left out: 1 failed)"),
        ("[]", [], "no finished experiment; `dvc exp run` makes one"),
        (shown(*ROWS), ["--format", "html"], "--format is 'html'; use one of terminal, markdown, csv"),
        (shown(*ROWS), ["--paper", "mnist"], "no published figures for 'mnist'; use one of cifar10"),
    ],
)
def test_mistakes_are_one_line(text, arguments, said):
    result = table(text, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone.json cannot be read"):
        from infocl.table.show import print_table

        print_table(paper=None, style="csv", file=tmp_path / "gone.json", all_commits=False)
