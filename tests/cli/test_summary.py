"""The last lines that a run prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from infocl.cli.summary import summary_lines
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, write_json, write_text
from tests.pipelines.exports import write_export
from tests.tiny_run import audit, comparison, task, write_metrics

EXPORTED = {
    "bytes": 4321,
    "max_abs_error": 1e-6,
    "max_relative_error": 1.46e-6,
    "cosine_min": 1.0,
    "parity_images": 12,
    "onnxruntime_images_per_second": 1000.0,
    "torch_images_per_second": 500.0,
    "threads": 2,
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_metrics()
    write_json(Path("metrics/details/export.json"), EXPORTED)
    write_export(Path("exports/encoder"), digits=(9, 10))
    Path("exports/encoder/encoder.onnx").write_bytes(bytes(4321))
    write_text(Path("report/index.html"), "<p>")


def test_it_says_what_was_made(project):
    lines = summary_lines()
    assert lines == [
        "An encoder was trained on scenes by SimCLR + RC (λ = 1).",
        "On its source task a linear probe is right for 81.2 % of 60 test images "
        "(95 % interval 76.9 to 84.7 %).",
        "Over 3 targets the mean accuracy is 64.3 % (95 % interval 62.1 to 67.6 %).",
        "The model is exports/encoder/encoder.onnx, 4.3 kB; it agrees with torch within a relative error "
        "of 1.5e-06.",
        "Open report/index.html in a browser to see what was learned, what it cost and how to ship it.",
        "",
        "Right test images in %, read by a linear probe:",
        "        raw pixels  untrained  plain  regularised",
        "scenes        40.0       45.0   50.0         81.2",
        "hue           40.0       45.0   50.0         50.0",
        "place         40.0       45.0   50.0         64.3",
        "photos        40.0       45.0   50.0         78.6",
    ]
    assert summary_lines() == lines


def test_without_labels_there_is_no_accuracy(project):
    probe = read_json(Path("metrics/details/probe.json"), "")
    write_json(Path("metrics/details/probe.json"), {key: probe[key] for key in probe if key not in task(0.5)})
    assert summary_lines()[1] == "It has no accuracy on its source task, because scenes has no labels."


def write_comparison(verdicts=None, **values):
    found = comparison(**values)
    for name, verdict in (verdicts or {}).items():
        found[name]["verdict"] = verdict
    write_json(Path("metrics/details/compare.json"), found)


def test_each_verdict_is_one_sentence_with_its_limits(project):
    write_comparison({"source": "learned", "hue": "brought back", "place": "learned", "photos": "forgotten"})
    assert summary_lines()[-4:] == [
        "Learned: scenes, place (the trained encoder's interval is above the best figure without training).",
        "Forgotten by plain training: photos (the plain encoder's interval is below raw pixels and below "
        "untrained encoders).",
        "Brought back by LBE: hue (the plain encoder forgot it, and the interval of regularised − plain is "
        "above 0).",
        "These words speak of one training seed, and intervals of the test images: other seeds may differ.",
    ]


def test_the_audit_is_one_line_where_it_has_words(project):
    write_json(Path("metrics/details/audit.json"), audit(hue="brought back", blur="kept"))
    assert summary_lines()[5:7] == [
        "The audit, without labels. Kept by plain training: blur. Brought back by LBE: hue.",
        "",
    ]


@pytest.mark.parametrize(
    ("values", "columns", "note"),
    [
        ({"plain": None}, "raw pixels  untrained  regularised", "compare.plain is false"),
        ({"untrained": None}, "raw pixels  plain  regularised", "compare.untrained is 0"),
        ({"regularised": None, "regularizer": "none"}, "raw pixels  untrained  plain", "reg.name is none"),
    ],
)
def test_what_was_not_compared_is_no_column_but_a_sentence(project, values, columns, note):
    write_comparison(labelled=False, **values)
    title, *rows, last = summary_lines()[7:]
    assert title.split("  ")[-3:] == columns.split("  ")
    assert [row.split()[0] for row in rows] == ["hue", "place", "photos"]
    assert {len(row) for row in rows} == {len(title)}
    assert note in last


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("metrics/details/probe.json", "probe"),
        ("metrics/details/transfer.json", "transfer"),
        ("metrics/details/compare.json", "compare"),
        ("metrics/details/audit.json", "audit"),
        ("metrics/details/export.json", "export"),
        ("exports/encoder/encoder.json", "export"),
        ("exports/encoder/encoder.onnx", "export"),
        ("report/index.html", "report"),
    ],
)
def test_what_is_missing_is_named(project, path, stage):
    Path(path).unlink()
    with pytest.raises(
        UserError,
        match=rf"{path} is missing; make it again: rm -rf {path.rpartition('/')[0]}\S* && dvc repro {stage}$",
    ):
        summary_lines()


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("metrics/details/probe.json", {"accuracy": "high"}, "probe.json has no usable accuracy"),
        (
            "metrics/details/transfer.json",
            {"hue": {"accuracy": 0.5}},
            "transfer.json has no usable hue.accuracy_ci95",
        ),
        ("exports/encoder/encoder.json", {"reg_weight": None}, "encoder.json: reg_weight is not usable"),
    ],
)
def test_what_is_damaged_is_named(project, path, values, message):
    write_json(Path(path), read_json(Path(path), "") | values)
    with pytest.raises(UserError, match=rf"{message}.*dvc repro") as caught:
        summary_lines()
    assert "\n" not in str(caught.value)
