"""A study as people and programs read it."""

from __future__ import annotations

import json

import pytest

from infocl.experiments.study.plan import plan
from infocl.experiments.study.record import gather
from infocl.experiments.study.show import print_study
from infocl.experiments.table.experiments import Experiment
from infocl.runtime.errors import UserError
from tests.workspace import SHIPPED

FIGURES = {"none": (0.96, 0.30), "rc": (0.93, 0.95)}


def study(seeds=(0, 1, 2), finished_of=slice(None)):
    planned = plan(["simclr"], ["rc"], [], seeds, [], SHIPPED)
    finished = {}
    for one in planned[finished_of]:
        source, hue = FIGURES[one.method.regularizer]
        params = {"reg": {"name": one.method.regularizer}, "seed": one.seed}
        compared = {"hue": {"raw": 0.99, "untrained": 0.4 + 0.01 * one.seed, "imported": 0.5}}
        targets = {"hue": hue + 0.01 * one.seed * (one.method.regularizer == "rc")}
        finished[one.name] = Experiment(one.name, "0", "", params, source, targets, compared)
    return gather(planned, finished, SHIPPED, "infocl study", new_data=False)


def test_markdown_has_baselines_methods_differences_and_a_sentence(capsys):
    print_study(study(), "markdown")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| model | seeds | source | hue |"
    assert lines[2] == "| raw pixels | 3 | - | 99.0 ± 0.0 |"
    assert lines[3] == "| untrained | 3 | - | 41.0 ± 2.5 |"
    assert lines[4] == "| imported | 3 | - | 50.0 ± 0.0 |"
    assert lines[5] == "| SimCLR | 3 | 96.0 ± 0.0 | 30.0 ± 0.0 |"
    assert lines[6] == "| SimCLR + RC (λ = 1) | 3 | 93.0 ± 0.0 | 96.0 ± 2.5 |"
    assert lines[7] == "|   difference |  | -3.0 ± 0.0* | +66.0 ± 2.5* |"
    assert lines[-1] == "- SimCLR + RC (λ = 1) raises hue (+66.0 ± 2.5); lowers source (-3.0 ± 0.0)."


def test_json_has_the_same_as_numbers(capsys):
    print_study(study(finished_of=slice(-1)), "json")
    found = json.loads(capsys.readouterr().out)
    assert found["methods"][1]["regularizer"] == "rc"
    assert found["methods"][1]["difference"]["hue"]["mean"] == pytest.approx(0.655)
    assert found["methods"][1]["difference"]["hue"]["seeds"] == 2
    assert found["methods"][1]["difference"]["hue"]["p_holm"] < 0.05
    assert found["baselines"]["raw"]["hue"]["mean"] == pytest.approx(0.99)
    assert found["sentences"][-1] == "1 experiment of 6 not finished."


def test_nothing_finished_is_said():
    with pytest.raises(UserError, match=r"^no experiment of this study is finished; run it without --show$"):
        print_study(study(finished_of=slice(0)), "terminal")
