"""Groups and sentences."""

from __future__ import annotations

import pytest

from infocl.data.embedded import describe_task
from infocl.report.inputs import read_inputs
from infocl.report.tasks import duration, group_tasks, headline, verdict
from infocl.results.comparison import CompareResult
from infocl.results.reading import TransferResult
from tests.tiny_run import compared, task, tiny_params


def cue(accuracy):
    return task(accuracy) | describe_task("what the views change", changed_by_views=True)


@pytest.fixture
def inputs(project):
    return read_inputs(tiny_params())


def with_targets(inputs, **rows):
    transfer = TransferResult(
        mean_accuracy=0.5, mean_accuracy_ci95=(0.4, 0.6), mean_knn_accuracy=0.4, targets=rows
    )
    object.__setattr__(inputs, "transfer", transfer)
    return inputs


def test_tasks_are_grouped_by_what_augmentation_does_to_them(inputs):
    rows = {"photos": task(0.5), "place": cue(0.5), "hue": cue(0.5), "cifar10": task(0.5)}
    groups = group_tasks(with_targets(inputs, **rows))
    assert [[each.name for each in group.tasks] for group in groups] == [
        ["scenes"],
        ["place", "hue"],
        ["photos", "cifar10"],
    ]


def test_empty_groups_are_left_out(inputs):
    groups = group_tasks(with_targets(inputs, digits=task(0.5)))
    assert [group.title for group in groups] == ["Shared between views: the source task", "Other tasks"]


def test_one_target_is_no_average(inputs):
    assert headline(with_targets(inputs, digits=task(0.5))).endswith("1 other task at 50.0 %.")


def test_what_was_brought_back_is_the_headline(inputs):
    row = compared(0.5, plain=0.26) | {"name": "hue", "verdict": "brought back"}
    result = CompareResult.model_validate({"regularizer": "lbe", "tasks": {"hue": row}})
    object.__setattr__(inputs, "compared", result)
    assert headline(inputs) == "Plain training forgot hue (26.0 %); LBE brought it back (50.0 %)."


def test_what_was_forgotten_needs_two_tasks_to_compare(inputs):
    assert any("it kept" in message for message in verdict(inputs))
    assert not any("it kept" in message for message in verdict(with_targets(inputs, hue=cue(0.5))))


def test_forgetting_is_judged_above_the_most_frequent_class(inputs):
    rows = {"hue": cue(0.6) | {"majority": 0.55}, "place": cue(0.5) | {"majority": 0.1}}
    message = " ".join(verdict(with_targets(inputs, **rows)))
    assert (
        "kept place best (50.0 %, 40.0 points above the most frequent class) and hue least (60.0 %, 5.0"
        in message
    )


def test_a_source_task_read_worse_than_changed_cues_is_said(inputs):
    """It is read 46.2 points above the most frequent class; intervals that touch leave doubt."""
    cues = {"hue": cue(0.95), "place": cue(0.99), "brightness": cue(0.86), "digits": task(0.99)}
    message = " ".join(verdict(with_targets(inputs, **cues)))
    assert (
        "That is worse (46.2 points above the most frequent class) than it reads hue and place, which "
        "augmentation changes from view to view."
    ) in message
    easy = {"hue": cue(0.95) | {"majority": 0.6}, "place": cue(0.85)}
    assert "worse" not in " ".join(verdict(with_targets(inputs, **easy)))


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.99, "1 min 0 s"),
        (154.2, "2 min 34 s"),
        (3599.4, "59 min 59 s"),
        (3599.9, "1 h 0 min"),
        (8130, "2 h 16 min"),
    ],
)
def test_durations(seconds, message):
    assert duration(seconds) == message
