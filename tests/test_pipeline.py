"""The pipeline as its users run it: real git, real DVC, a clone in a folder with spaces in its name."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import time

import pytest
from ruamel.yaml import YAML

from infocl.runtime.mappings import flat
from tests.project import ALL, Project

COMPARED = {
    "prepare": {"data", "classes", "train_images", "test_images"},
    "pretrain": {"images_per_second", "loss", "objective", "regularizer", "epochs", "device"},
    "probe": {"accuracy", "knn_accuracy", "rankme"},
    "compare": {
        f"{task}.{kind}"
        for task in ("source", "hue", "digits")
        for kind in ("raw", "untrained", "plain", "regularised", "difference")
    },
    "audit": {f"{factor}.{kind}" for factor in ("hue", "scale") for kind in ("plain", "regularised")},
    "transfer": {"hue.accuracy", "digits.accuracy", "mean_accuracy"},
    "export": {"max_abs_error", "cosine_min", "bytes"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(
        tmp_path_factory.mktemp("work") / "a clone with spaces",
        data__name="shapes",
        data__image_size=32,
        transfer__targets=["hue", "digits"],
        audit__factors=["hue", "scale"],
    )
    assert project.repro() == ALL
    project.commit("first run")
    return project


def metrics(project, stage):
    return json.loads((project.folder / f"metrics/{stage}.json").read_text())


def digest(project, name="models/pretrain/encoder.safetensors"):
    return hashlib.sha256((project.folder / name).read_bytes()).hexdigest()


def test_metrics_are_what_people_compare_and_nothing_else(project):
    shown = json.loads(project.dvc("metrics", "show", "--json"))[""]["data"]
    assert {file: dict(flat(about["data"])).keys() for file, about in shown.items()} == {
        f"metrics/{stage}.json": keys for stage, keys in COMPARED.items()
    }
    low, high = metrics(project, "probe")["accuracy_ci95"]  # a list, which DVC does not show
    assert low <= metrics(project, "probe")["accuracy"] <= high


def test_the_contract_of_files_and_metrics(project):
    transfer = metrics(project, "transfer")
    assert transfer["mean_accuracy"] == pytest.approx(
        (transfer["hue"]["accuracy"] + transfer["digits"]["accuracy"]) / 2
    )
    for stage in ALL - {"check", "report"}:
        details = json.loads((project.folder / f"metrics/details/{stage}.json").read_text())
        assert details["seconds"] > 0
        assert details["peak_memory_mib"] > 0
    for name in ("encoder.onnx", "encoder.json", "README.md", "SHA256SUMS"):
        assert (project.folder / "exports/encoder" / name).stat().st_size > 0
    assert (project.folder / "report/index.html").stat().st_size > 0


def test_the_export_leads_back_to_what_dvc_made(project):
    lock = YAML(typ="safe").load((project.folder / "dvc.lock").read_text())["stages"]
    message = json.loads((project.folder / "exports/encoder/encoder.json").read_text())["lineage"][
        "dvc_stages"
    ]
    made = {
        "prepare": "data/prepared",
        "targets": "data/targets",
        "probe": "models/features",
        "transfer": "models/correct",
    }
    assert message == {
        stage: {out["path"]: out["md5"] for out in lock[stage]["outs"] if out["path"] == path}
        for stage, path in made.items()
    }


def test_a_second_run_runs_nothing(project):
    assert "up to date" in project.dvc("repro")


def test_the_summary_names_what_was_made(project):
    message = project.run("python", "-m", "infocl", "summary")
    assert f"{100 * metrics(project, 'probe')['accuracy']:.1f}" in message
    assert f"{100 * metrics(project, 'transfer')['mean_accuracy']:.1f}" in message
    assert "exports/encoder/encoder.onnx" in message
    assert "report/index.html" in message
    compared = metrics(project, "compare")
    for name, task in (("shapes", "source"), ("hue", "hue"), ("digits", "digits")):
        shares = [
            f"{100 * compared[task][kind]:.1f}" for kind in ("raw", "untrained", "plain", "regularised")
        ]
        assert [name, *shares] in [line.split() for line in message.splitlines()]
    assert compared["hue"]["regularised"] == metrics(project, "transfer")["hue"]["accuracy"]
    page = (project.folder / "report/index.html").read_text()
    assert page.index("Plain and regularised, side by side") < page.index("What the features tell")


def test_the_tour_tells_what_the_run_made(project):
    message = project.run("python", "-m", "infocl.experiments.tour")
    assert f"'regularised': '{metrics(project, 'compare')['hue']['regularised']:.1%}'" in message
    assert "relative error against torch" in message


def test_a_flipped_bit_that_dvc_does_not_see_is_named_and_the_hint_restores_the_file(project):
    """In one file of the four that stages read; tests of their readers damage the others."""
    path = project.folder / "models/pretrain/encoder.safetensors"
    good, before = path.read_bytes(), path.stat()
    with path.open("r+b") as stream:
        stream.seek(-5, os.SEEK_END)
        stream.write(bytes([good[-5] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    message = project.run("python", "-m", "stages.probe", code=2).splitlines()[-1]
    assert str(path.relative_to(project.folder)) in message
    project.run("sh", "-c", message.partition("make it again: ")[2])
    assert path.read_bytes() == good
    project.run("python", "-m", "stages.probe")


def test_a_mistake_loses_nothing_and_is_named(project):
    before = {name: digest(project, name) for name in ("exports/encoder/encoder.onnx", "report/index.html")}
    before |= {"models/pretrain/encoder.safetensors": digest(project)}
    params = (project.folder / "params.yaml").read_text()
    for key, value, message in (
        ("reg.weight", -1.0, "infocl: params.yaml: reg.weight is -1.0, but must be at least 0"),
        (
            "train.epocs",
            3,
            "infocl: params.yaml: train.epocs is not a known parameter; did you mean train.epochs",
        ),
    ):
        project.change(key, value)
        assert message in project.dvc("repro", code=255)
        (project.folder / "params.yaml").write_text(params)
    assert {name: digest(project, name) for name in before} == before
    assert project.repro() == set()


def test_a_stage_says_what_is_wrong_with_exit_code_two(project):
    path = project.folder / "params.yaml"
    params = path.read_text()
    project.change("seed", "x")
    for stage in ("check", "pretrain"):
        message = project.run("python", "-m", f"stages.{stage}", code=2)
        assert message == "infocl: params.yaml: seed is 'x', but must be a whole number\n"
    path.write_text(params)


def test_kill_nine_in_pretraining_and_the_same_weights_after_all(project):
    project.change("train.epochs", 30)
    project.change("seed", 5)
    process = project.start("dvc", "repro", "pretrain")
    checkpoints = project.folder / "models/checkpoints"
    deadline = time.monotonic() + 900
    while not list(checkpoints.glob("*/checkpoint.safetensors")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(checkpoints.glob("*/checkpoint.safetensors")), "killed before the end"
    message = project.dvc("repro", "pretrain")
    assert "Continuing from step" in message
    resumed = digest(project)
    project.dvc("repro", "--force", "--single-item", "--no-run-cache", "pretrain")
    assert digest(project) == resumed


def test_experiments(project):
    project.git("checkout", "--quiet", ".")
    project.dvc("checkout")
    assert project.repro() == set()
    project.dvc("exp", "run", "--name", "reconstruct", "-S", "reg.name=rc")
    assert metrics(project, "pretrain")["regularizer"] > 0, "a reconstruction error"
    assert "up to date" in project.dvc("status"), "the optional stage does not exist"
    shown = project.run("python", "-m", "infocl", "table", "--format", "csv")
    (row,) = csv.DictReader(shown.splitlines()[:2])
    assert (row["regularizer"], row["seeds"]) == ("rc", "1")
    assert float(row["mean"]) == pytest.approx(100 * metrics(project, "transfer")["mean_accuracy"], abs=0.01)
    changed = json.loads(project.dvc("metrics", "diff", "HEAD", "--json"))
    assert "mean_accuracy" in changed["metrics/transfer.json"]
    table = list(csv.DictReader(io.StringIO(project.dvc("exp", "show", "--only-changed", "--csv"))))
    assert len(table[0]) <= 36, "metrics, and the params that differ between these runs"
    (row,) = (row for row in table if row["Experiment"] == "reconstruct")
    assert row["reg.name"] == "rc"
    assert float(row["rankme"]) > 0
    assert "reg.wieght" in project.dvc("exp", "run", "-S", "reg.wieght=1", code=255)
    project.dvc("plots", "show", "-o", "plots page")
    assert "Loss and its parts" in (project.folder / "plots page/index.html").read_text()
