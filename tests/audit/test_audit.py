"""The stage audit on a tiny workspace without labels, and its words at their boundaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from infocl.audit.audit import run_audit, word
from infocl.encoder.files import load_encoder
from infocl.evaluate.features import extract
from infocl.prepared.reader import load_prepared
from infocl.pretrain.plain import pretrain_plain
from infocl.pretrain.training import pretrain
from infocl.results.audit import AuditResult, read_audit
from infocl.results.writing import write_results
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, write_json
from infocl.runtime.paths import AUDIT, DETAILS, METRICS, PLAIN, PREPARED, PRETRAIN
from tests.workspace import tiny_params, write_prepared

BASE = {
    "train__device": "cpu",
    "encoder__width": 0.0625,
    "compare__untrained": 2,
    "audit__images": 160,
    "audit__factors": ["brightness", "orientation"],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Both encoders, of images without labels."""
    root = tmp_path_factory.mktemp("audited")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_prepared(PREPARED, train=160, test=80, labelled=False)
        for stage, work in (("pretrain", pretrain), ("plain", pretrain_plain)):
            write_results(stage, work(tiny_params(**BASE)))
    return root


@pytest.fixture
def workspace(trained, monkeypatch):
    monkeypatch.chdir(trained)


def audited(**changes):
    found = run_audit(tiny_params(**BASE | changes))
    write_results("audit", found)
    return found, read_audit()


def test_unlabelled_images_are_audited_by_all_there_is(workspace):
    found, result = audited()
    assert (result.train_images, result.test_images) == (160, 80)
    assert result.kinds == ["raw", "untrained", "plain", "regularised"]
    assert list(result.factors) == ["brightness", "orientation"]
    assert audited()[0] == found
    for row in result.factors.values():
        assert row.difference == pytest.approx(row.regularised - row.plain)
        for kind, value, (low, high) in row.figures:
            assert low <= value <= high <= 1, kind
        low, high = row.ci95["difference"]
        assert low <= row.difference <= high
    assert result.factors["brightness"].raw > 0.3, "digits of one brightness are brightened"
    assert {len(fits) for fits in found["brightness"]["fits"].values()} == {1, 2}
    compared = read_json(METRICS / "audit.json", "")
    assert compared.keys() == {"brightness", "orientation"}
    assert compared["brightness"].keys() == {"plain", "regularised"}
    rows, features = (np.load(AUDIT / f"{name}.npy") for name in ("rows", "features"))
    assert rows.tolist() == list(range(80))
    images = load_prepared(PREPARED).split("test").images
    for kept, folder in zip(features, (PLAIN, PRETRAIN), strict=True):
        expected = extract(load_encoder(folder)[0], images, torch.device("cpu"))
        np.testing.assert_allclose(kept, expected, rtol=1e-4, atol=1e-5)


def test_what_was_not_asked_for_is_left_out(workspace):
    _, result = audited(reg__name="none", compare__untrained=0, audit__images=40, audit__factors=["blur"])
    assert (result.train_images, result.test_images) == (40, 40)
    assert result.kinds == ["raw", "plain"]
    assert result.factors["blur"].verdict is None
    _, result = audited(audit__factors=[])
    assert result.factors == {}
    assert result.kinds == result.sentences() == []


def test_encoders_of_other_images_are_refused(workspace):
    with pytest.raises(UserError, match=r"data\.crop"):
        run_audit(tiny_params(**BASE, data__crop="squash"))


def figures(plain, difference=(0.1, 0.2), untrained=0.4, raw=0.6):
    """R2 with intervals; the plain encoder's interval is given, the regularised one's follows."""
    known = {"raw": (raw, [raw - 0.1, raw + 0.1]), "plain": (sum(plain) / 2, list(plain))}
    known["regularised"] = (known["plain"][0] + sum(difference) / 2, [0.0, 1.0])
    known["difference"] = (sum(difference) / 2, list(difference))
    if untrained is not None:
        known["untrained"] = (untrained, [untrained - 0.1, untrained + 0.1])
    return known


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (figures((0.2, 0.39)), "brought back"),
        (figures((0.2, 0.39), difference=(-0.01, 0.2)), "forgotten"),
        (figures((0.2, 0.40)), None),
        (figures((0.2, 0.39), raw=0.3), None),
        (figures((0.4, 0.5)), None),
        (figures((0.41, 0.5)), "kept"),
        (figures((-0.02, 0.1), untrained=-0.1, raw=-0.1), None),
        (figures((0.01, 0.1), untrained=-0.1, raw=-0.1), "kept"),
        (figures((0.2, 0.39), untrained=None), None),
        ({kind: figures((0, 1))[kind] for kind in ("raw", "untrained", "regularised")}, None),
    ],
)
def test_a_word_needs_its_intervals(given, expected):
    assert word(given) == expected


def test_a_sentence_says_what_the_word_rests_on():
    row = {
        "raw": 0.66,
        "untrained": 0.35,
        "plain": 0.05,
        "regularised": 0.6,
        "difference": 0.55,
        "ci95": {"raw": (0.6, 0.7), "untrained": (0.3, 0.4), "plain": (0, 0.1), "regularised": (0.5, 0.7)},
        "verdict": "brought back",
    }
    row["ci95"]["difference"] = (0.5, 0.6)
    nothing = dict.fromkeys(("raw", "untrained", "plain", "regularised"), -0.01)
    ends = dict.fromkeys(nothing, (-0.1, 0.0))
    unseen = {**nothing, "difference": 0.0, "ci95": {**ends, "difference": (-0.1, 0.1)}, "verdict": None}
    result = AuditResult.model_validate(
        {
            "regularizer": "rc",
            "train_images": 9,
            "test_images": 9,
            "factors": {
                "hue": row,
                "blur": row | {"verdict": "forgotten"},
                "scale": row | {"verdict": "kept"},
                "aspect": row | {"verdict": None},
                "orientation": unseen,
            },
        }
    )
    assert [result.sentence(name) for name in result.factors] == [
        "Hue was forgotten by plain training (0.05; raw pixels 0.66, untrained 0.35) and brought back by RC "
        "(0.60; difference 0.55, 95 % interval 0.50 to 0.60).",
        "Blur was forgotten by plain training (0.05; raw pixels 0.66, untrained 0.35).",
        "Scale was kept by plain training (0.05; raw pixels 0.66, untrained 0.35).",
        "Aspect: the intervals allow no word.",
        "Orientation cannot be told from these images by any of the readers.",
    ]
    assert result.sentences() == [
        "Kept by plain training: scale.",
        "Forgotten by plain training: blur.",
        "Brought back by RC: hue.",
    ]


def test_a_damaged_result_is_named_with_its_stage(workspace):
    audited()
    path = DETAILS / "audit.json"
    broken = read_json(path, "")
    broken["brightness"].pop("raw")
    write_json(path, broken)
    with pytest.raises(UserError, match=r"audit\.json has no usable .*raw.*dvc repro audit"):
        read_audit()
