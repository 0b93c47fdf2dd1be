"""The page as a reader's browser sees it: whole, on its own, and with the run's own numbers."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from infocl.export.model_card import usage_example
from infocl.runtime.errors import UserError
from infocl.runtime.files import read_json, write_json
from tests.report.page import PAGE, build, change
from tests.tiny_run import CLASSES, TARGETS, task, tiny_params, write_prepared

HOSTILE = '</style></svg><script>alert("1")</script><img src=x onerror=alert(1)> & $x_1'


def test_the_page_stands_alone(project):
    page, metrics = build()
    text = PAGE.read_text(encoding="utf-8")
    assert metrics["bytes"] == PAGE.stat().st_size
    loads = [value for _, each in page.elements for key, value in each.items() if key in ("src", "href")]
    loads += re.findall(r"url\(([^)]*)\)", text)
    assert loads
    assert all(load.startswith(("data:", "#")) for load in loads), loads
    assert "@import" not in text
    assert not page.all("script")
    namespaces = r'xmlns(:xlink)?="http://www\.w3\.org/(2000/svg|1999/xlink)"'
    assert "http" not in re.sub(namespaces, "", text)
    assert not re.search(r"\b(src|href)=\"//", text)


def test_figures_are_complete_and_described(project):
    page, metrics = build()
    panels = ["Loss and its parts", "Information about the view", "Spread of the features", "Throughput"]
    assert metrics["figures"] == len(page.all("figure")) == len(panels) + 9
    assert len(page.all("figcaption")) == metrics["figures"]
    headings = page.text("h2", "h3")
    for title in [
        *panels,
        "Shared between views",
        "Destroyed by augmentation",
        "Other tasks",
        "What it cost",
    ]:
        assert title in headings
    assert "Agreement" not in headings, "no panel for what the history lacks"
    assert all(image["alt"] and int(image["width"]) > 0 for image in page.all("img"))
    bare = [svg for svg in page.all("svg") if not {"aria-label", "aria-hidden", "x"} & set(svg)]
    assert bare == []
    ids = [each["id"] for _, each in page.elements if "id" in each]
    assert len(ids) == len(set(ids))


def test_colours_are_the_pages_own_so_that_dark_mode_works(project):
    build()
    text = PAGE.read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"#(0[1-5])\1\1\b", text), "a stand-in colour was left"
    used = set(re.findall(r"var\(--([a-z-]+)\)", text))
    defined = set(re.findall(r"--([a-z-]+):", text))
    assert used <= defined


def percent(share):
    return f"{100 * share:.1f}"


def test_every_task_is_drawn_where_its_numbers_are(project):
    page, _ = build()
    probe, transfer = (
        json.loads(Path(f"metrics/details/{name}.json").read_text()) for name in ("probe", "transfer")
    )
    rows = {"scenes": probe} | {name: transfer[name] for name in TARGETS}
    tracks = {
        svg["aria-label"].split(":")[0]: svg["aria-label"]
        for svg in page.all("svg")
        if svg.get("class") == "track"
    }
    assert list(tracks) == ["scenes", "hue", "place", "photos"]
    dots = iter(circle["cx"] for circle in page.all("circle") if circle.get("cy") == "15")
    whiskers = iter(line for line in page.all("line") if line.get("class") == "whisker" and "%" in line["x1"])
    ticks = iter(line for line in page.all("line") if line.get("class") == "majority" and "%" in line["x1"])
    diamonds = iter(svg["x"] for svg in page.all("svg") if "x" in svg)
    for name, label in tracks.items():
        row = rows[name]
        low, high = row["accuracy_ci95"]
        assert f"linear probe {percent(row['accuracy'])} %" in label
        assert f"interval {percent(low)} to {percent(high)} %" in label
        assert f"nearest neighbours {percent(row['knn_accuracy'])} %" in label
        assert f"most frequent class {percent(row['majority'])} %" in label
        assert next(dots) == f"{100 * row['accuracy']:.2f}%"
        whisker = next(whiskers)
        assert (whisker["x1"], whisker["x2"]) == (f"{100 * low:.2f}%", f"{100 * high:.2f}%")
        assert next(ticks)["x1"] == f"{100 * row['majority']:.2f}%"
        assert next(diamonds) == f"{100 * row['knn_accuracy']:.2f}%"


def test_the_verdict_names_the_numbers(project):
    page, _ = build()
    transfer = json.loads(Path("metrics/details/transfer.json").read_text())
    mean, size = percent(transfer["mean_accuracy"]), Path("exports/encoder/encoder.onnx").stat().st_size
    assert (
        page.text("h1") == f"This encoder reads its own task at 81.2 %, 3 other tasks at {mean} % on average."
    )
    everything = page.text()
    assert (
        "A resnet18 of width 0.125 learned from 60 images of scenes by SimCLR + LBE (λ = 1), 3 epochs"
        in everything
    )
    assert "right for 81.2 % of 60 test images of the source task (95 % interval 76.9 to 84.7 %" in everything
    assert (
        "it kept place best (64.3 %, 29.3 points above the most frequent class) and hue least" in everything
    )
    assert f"{size / 1000:.1f} kB" in everything
    assert "no finding about natural images" in everything


def test_diagnostics_costs_and_proof_are_the_metrics(project):
    page, _ = build()
    everything = page.text()
    for shown in ("21.7 of 64", "3.1 %", "0.432", "−2.35", "2.10 nats", "at most 3.81 nats", "7.9"):
        assert shown in everything
    assert everything.count("12.3 s") >= 5
    assert "568 MiB" in everything
    assert "1,234 images/s on CPU, 2 threads" in everything
    assert "1 min 42 s 900 MiB" in everything, "sum of the times, largest memory"
    about = json.loads(Path("exports/encoder/encoder.json").read_text())
    assert f"{about['parity']['max_relative_error']:.2e}" in everything
    assert about["onnx_sha256"] in everything
    assert "onnxruntime.InferenceSession" in usage_example(about)
    code = "".join(data for tag, data in page.texts if tag == "code")
    assert usage_example(about) in code


def test_all_params_can_be_read_back(project):
    page, _ = build()
    shown = [data for tag, data in page.texts if tag == "code"][-1]
    assert YAML(typ="safe").load(shown) == tiny_params().model_dump()


def test_the_same_inputs_give_the_same_bytes(project):
    build()
    first = PAGE.read_bytes()
    build()
    assert PAGE.read_bytes() == first


def test_hostile_words_stay_words(project):
    meta_file = Path("data/prepared/meta.json")
    change(meta_file, classes=[HOSTILE, "b", "c"], source=HOSTILE, licence=HOSTILE)
    change("metrics/details/pretrain.json", device=HOSTILE)
    change("models/pretrain/config.json", version=HOSTILE, regularizer=HOSTILE)
    transfer = read_json(Path("metrics/details/transfer.json"), "")
    write_json(Path("metrics/details/transfer.json"), transfer | {HOSTILE: task(0.5)})
    history = Path("models/pretrain/history.csv")
    history.write_text(history.read_text().replace("regularizer_mi_bound_nats", "objective_<script>$x"))
    page, _ = build()
    assert not page.all("script")
    assert [image for image in page.all("img") if "onerror" in image] == []
    assert all(not key.startswith("on") for _, each in page.elements for key in each)
    assert page.text().count(HOSTILE) >= 6
    assert "Objective <script>$x" in page.text("h3")


def test_the_legend_names_classes_and_singles_them_out_without_a_script(project):
    page, _ = build()
    text = PAGE.read_text()
    for number, name in enumerate(CLASSES):
        assert f'id="a0-{number}"' in text
        assert text.count(f'<path class="class-{number}" ') == 2, "a map for each encoder"
        assert f":has(#a0-{number}:checked, label:hover > #a0-{number})" in text
        assert name in page.text("label")


def test_data_without_labels(project):
    write_prepared(labelled=False)
    probe = read_json(Path("metrics/details/probe.json"), "")
    write_json(Path("metrics/details/probe.json"), {key: probe[key] for key in probe if key not in task(0.5)})
    page, _ = build()
    assert page.text("h1").startswith("This encoder reads 3 other tasks at ")
    assert "The data set scenes has no labels" in page.text()
    assert "Source accuracy" not in page.text()
    assert not page.all("fieldset")


def test_a_legend_of_142_classes_names_and_colours_each(project):
    names = [f"class {number}" for number in range(142)]
    change("data/prepared/meta.json", classes=names)
    build()
    text = PAGE.read_text()
    chips = re.findall(r'id="a0-(\d+)"><i style="background:(#[0-9a-f]{6})"></i>([^<]*)</label>', text)
    assert [(int(number), name) for number, _, name in chips] == list(enumerate(names))
    assert len({colour for _, colour, _ in chips}) == 142


def test_what_is_left_of_images_is_shown_for_each_encoder_beside_them(project):
    page, _ = build()
    alts = [image["alt"] for image in page.all("img")]
    assert "2 test images" in alts
    for kind in ("plain", "regularised"):
        assert f"the same images, rebuilt from the features of the {kind} encoder" in alts
        (words,) = [alt for alt in alts if f"2 nearest by the features of the {kind} encoder" in alt]
        labels = np.load("data/prepared/test/labels.npy")
        same = int((labels[[1, 2]] == labels[0]).sum() + (labels[[4, 5]] == labels[3]).sum())
        assert words.endswith(f"; {same} of the 4 neighbours are of the image's class")


def test_headings_go_down_one_level_at_a_time(project):
    page, _ = build()
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


NEEDED = {
    "models/pretrain/config.json": "pretrain",
    "models/pretrain/history.csv": "pretrain",
    "models/pretrain/views.npy": "pretrain",
    "models/audit/meta.json": "audit",
    "models/audit/neighbours.npy": "audit",
    "models/audit/rebuilt.npy": "audit",
    "models/audit/features.npy": "audit",
    "models/audit/rows.npy": "audit",
    "data/prepared/meta.json": "prepare",
    "data/prepared/test/labels.npy": "prepare",
    "exports/encoder/encoder.json": "export",
    **{
        f"metrics/details/{stage}.json": stage
        for stage in (
            "prepare",
            "targets",
            "pretrain",
            "plain",
            "probe",
            "transfer",
            "compare",
            "audit",
            "export",
        )
    },
}


@pytest.mark.parametrize(("path", "stage"), NEEDED.items())
@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_what_is_missing_or_damaged_is_named_with_its_stage(project, path, stage, harm):
    PAGE.parent.mkdir()
    PAGE.write_text("the old page")
    if harm == "missing":
        Path(path).unlink()
    else:
        Path(path).write_bytes(Path(path).read_bytes()[:20])
    with pytest.raises(UserError, match=rf"{re.escape(path)}.*dvc repro {stage}$") as caught:
        build()
    assert "\n" not in str(caught.value)
    assert PAGE.read_text() == "the old page"


def test_files_of_another_run_are_refused(project):
    change("exports/encoder/encoder.json", weights_sha256="ef" * 32)
    with pytest.raises(UserError, match=r"encoder\.json describes another encoder.*repro export"):
        build()
    config = read_json(Path("models/pretrain/config.json"), "")
    change("exports/encoder/encoder.json", weights_sha256=config["weights_sha256"])
    change("models/audit/meta.json", encoder_sha256="ef" * 32)
    with pytest.raises(UserError, match=r"models/audit is of another encoder.*repro audit"):
        build()
    change("models/audit/meta.json", images_sha256="ef" * 32)
    with pytest.raises(UserError, match=r"models/audit is of other test images.*repro audit"):
        build()
