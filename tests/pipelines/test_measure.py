"""What a new encoder is held against beside the one in service: real tags, metrics and exports."""

from __future__ import annotations

import json
import shutil

import pytest

from infocl.config import GateParams
from infocl.results.comparison import read_compare
from infocl.runtime.errors import UserError
from infocl.runtime.files import write_json
from infocl.runtime.paths import DETAILS, EXPORT
from pipelines import service
from pipelines.differences import read_encoder
from pipelines.gate import judge
from pipelines.measure import best_so_far, untrained_accuracies
from pipelines.registry import FORCED, Version, adopt, draft, read_registry
from pipelines.rollback import roll_back
from tests.pipelines.toy import Toy, entered, nothing, promoted
from tests.tiny_run import comparison

RIGHT = (430, 420, 410)


@pytest.fixture(scope="module")
def made_worse(tmp_path_factory):
    """Three encoders, each a little worse than the one before."""
    toy = Toy(tmp_path_factory.mktemp("worse") / "a toy")
    toy.commits = [toy.export(float(weights), right) for weights, right in enumerate(RIGHT, 1)]
    return toy


@pytest.fixture
def worse(made_worse, tmp_path, monkeypatch):
    """A copy, the current folder; the third is the candidate in the work tree."""
    return entered(made_worse, tmp_path, monkeypatch)


def best():
    registry = read_registry()
    now = read_encoder(service.SERVICE / registry.in_service.name)
    return best_so_far(registry, read_encoder(EXPORT), now, nothing)


def test_the_best_version_so_far_refuses_what_the_one_in_service_alone_would_pass(worse):
    promoted(worse, 0, "v1.0.0")
    assert best() is None, "it is the one in service"
    promoted(worse, 1, "v1.1.0")
    shutil.rmtree(service.SERVICE / "v1.0.0")
    found = best()
    assert found.name == "v1.0.0"
    rules = GateParams(
        min_lead=-1.0,
        max_mean_drop=0.045,
        max_task_drop=1.0,
        floors={},
        max_size_ratio=9.0,
        max_latency_ratio=9.0,
    )
    new, now = read_encoder(EXPORT), read_encoder(service.CURRENT)
    assert judge(new, now, rules).passed
    verdict = judge(new, now, rules, best=found)
    assert verdict.reason.startswith(
        "mean of 1 targets, best so far (v1.0.0): 91.3 % against 95.8 %, -4.5 points (95 %: "
    )
    assert "on the same test images" in verdict.reason


def test_what_was_rolled_back_or_came_before_a_forced_version_is_no_measure(worse):
    promoted(worse, 1, "v1.0.0")
    promoted(worse, 0, "v1.1.0")
    roll_back(None, None, nothing, 0)
    assert best() is None
    promoted(worse, 0, "v1.1.0")
    adopt(draft(Version("v1.0.0", worse.commits[1]), f"{FORCED}a person knows better"))
    assert read_registry().in_service.name == "v1.0.0"
    assert best() is None


def test_another_test_set_is_no_measure(worse):
    promoted(worse, 0, "v1.0.0")
    promoted(worse, 1, "v1.1.0")
    path = EXPORT / "encoder.json"
    changed = json.loads(path.read_text())
    changed["metrics"]["transfer"]["digits"]["test_labels_sha256"] = "labels of others"
    path.unlink()  # a link into DVC's cache
    path.write_text(json.dumps(changed))
    assert best() is None


def test_untrained_encoders_are_read_from_the_stage_compare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert untrained_accuracies() == {}
    write_json(DETAILS / "compare.json", comparison(untrained=0.4))
    assert untrained_accuracies() == dict.fromkeys(read_compare().tasks, 0.4)
    write_json(DETAILS / "compare.json", comparison(untrained=None))
    assert untrained_accuracies() == {}
    write_json(DETAILS / "compare.json", {"digits": {}})
    with pytest.raises(UserError, match=r"metrics/details/compare\.json"):
        untrained_accuracies()
