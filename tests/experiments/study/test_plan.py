"""Which experiments a study takes, and what its arguments may be."""

from __future__ import annotations

import pytest

from infocl.experiments.study.plan import Method, parse_names, parse_weights, plan
from infocl.runtime.errors import UserError
from tests.workspace import SHIPPED, raw_params


def planned(
    objectives=("simclr",), regularizers=("noise", "rc"), weights=(), seeds=(0, 1), overrides=(), **more
):
    return plan(objectives, regularizers, weights, seeds, overrides, SHIPPED, **more)


def test_every_method_on_every_seed_the_control_among_them():
    found = planned(weights=[0.1, 1.0])
    methods = [Method("simclr", "none", None), Method("simclr", "noise", None)]
    methods += [Method("simclr", "rc", 0.1), Method("simclr", "rc", 1.0)]
    assert [(one.method, one.seed) for one in found] == [(m, seed) for seed in (0, 1) for m in methods]
    assert len({one.name for one in found}) == len(found)
    assert [one.until for one in found[:2]] == ["compare", "transfer"]
    assert "reg.weight=0.1" in found[2].settings
    assert not any("reg.weight" in word for word in found[1].settings), "noise has no term"


def test_a_name_says_what_decides_the_figures_and_nothing_else():
    name = planned()[2].name
    assert planned(regularizers=["rc"])[1].name == name
    assert planned(overrides=["train.device=cpu"])[2].name == name
    assert planned(overrides=["train.epochs=3"])[2].name != name
    assert planned(new_data=True)[3].name != name


def test_a_knob_makes_a_method_of_its_own_that_is_the_run_with_this_knob_in_params():
    found = planned(regularizers=["lbe", "lbe.critic=pixels"], seeds=[0])
    assert [one.method.title for one in found] == [
        "SimCLR",
        "SimCLR + LBE (λ = 1)",
        "SimCLR + LBE (critic=pixels, λ = 1)",
    ]
    alone = planned(regularizers=["lbe"], seeds=[0], overrides=["reg.lbe.critic=pixels"])
    assert [found[0].name, found[2].name] == [one.name for one in alone]
    assert found[1].name != found[2].name


def test_without_weights_each_regulariser_has_that_of_its_recipe():
    weights = {one.method.regularizer: one.method.weight for one in planned(regularizers=["rc", "mib"])}
    assert weights["rc"] == 1.0
    assert 0 < weights["mib"] < 1


def test_new_data_draws_the_source_by_the_seed():
    assert "data.shapes.seed=1" in planned(new_data=True)[-1].settings
    with pytest.raises(
        UserError, match=r"^--new-data needs a source that is drawn, but data.name is cifar10"
    ):
        plan(["simclr"], ["rc"], [], [0], ["data.name=cifar10"], raw_params(), new_data=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": ["simclrr"]}, "there is no objective 'simclrr'; did you mean simclr?"),
        ({"regularizers": ["rcc"]}, "there is no regulariser 'rcc'; did you mean rc?"),
        ({"regularizers": ["lbe.critics=pixels"]}, "reg.lbe.critics is not a known parameter"),
        ({"regularizers": ["lbe.critic"]}, "-S reg.lbe.critic cannot be read"),
        ({"weights": [-1.0]}, "reg.weight"),
        ({"overrides": ["train.epoch=3"]}, "train.epoch is not a known parameter"),
        ({"overrides": ["train.epochs=3,4"]}, "-S train.epochs=3,4 gives several values; give one"),
        ({"overrides": ["train.epochs"]}, "-S train.epochs cannot be read"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(UserError) as caught:
        planned(**change)
    assert message in str(caught.value)


def test_lists_on_the_command_line():
    assert parse_names("noise, rc,,rc") == ["noise", "rc"]
    assert parse_weights("") == []
    assert parse_weights("0.1,1") == [0.1, 1.0]
    with pytest.raises(UserError, match=r"--weights is 'x', but must be numbers such as 0\.1,1"):
        parse_weights("x")
