"""Which decisions of the journal still stand."""

from __future__ import annotations

import pytest

from pipelines.service import decided, record

RULES, OTHERS = {"max_mean_drop": 0.02}, {"max_mean_drop": 0.5}


@pytest.fixture(autouse=True)
def journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_candidate_that_was_never_judged_or_by_other_rules_is_to_be_judged():
    record("refused", "a", OTHERS)
    assert decided("a", RULES) is None
    assert decided("b", OTHERS) is None
    assert decided("a", OTHERS)["decision"] == "refused"


def test_a_refusal_stands_whatever_came_after_it():
    record("refused", "a", RULES)
    record("promoted", "b", RULES)
    assert decided("a", RULES)["decision"] == "refused"


def test_an_encoder_that_is_brought_back_after_another_was_promoted_is_judged_again():
    record("promoted", "a", RULES)
    record("promoted", "b", OTHERS)
    assert decided("a", RULES) is None
    assert decided("b", OTHERS)["decision"] == "promoted"


def test_an_encoder_that_was_rolled_back_does_not_come_back_by_itself():
    record("promoted", "a", RULES)
    record("promoted", "b", RULES)
    record("rolled back", "a", {})
    assert decided("b", RULES)["decision"] == "promoted"
