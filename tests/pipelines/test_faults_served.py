"""Faults of a served workspace: servers and workers that die, two of them at once, bad params, bad data."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest
from PIL import Image

from tests.pipelines import faults
from tests.pipelines.exports import write_export
from tests.pipelines.once import records
from tests.pipelines.quick import ASIDE, QuickProject
from tests.workspace import ROOT, digit_images


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """v1.0.0 is in service; all stages but prepare take a moment."""
    prefect = faults.Prefect(tmp_path_factory.mktemp("prefect"), records(tmp_path_factory))
    quick = QuickProject(tmp_path_factory.mktemp("served") / "project", without=ASIDE)
    write_export(quick.outside / "encoders/2", weights=2.0, digits=(415, 449))
    shutil.copy(ROOT / "stages/prepare.py", quick.folder / "stages")
    quick.dvc("remote", "add", "--default", "store", str(quick.outside / "remote"))
    quick.commit("the real stage prepare, and a DVC remote")
    served = faults.Serviced(quick.folder, prefect)
    first = faults.Prefect(tmp_path_factory.mktemp("first"), records(tmp_path_factory))
    faults.Serviced(quick.folder, first).run("infocl", "retrain")
    served.servers, served.quick = [], quick
    yield served
    for program in (*served.servers, prefect.program):
        if program is not None:
            program.kill()
    served.forget()


def log(served):
    return "\n".join(program.message() for program in served.servers)


def finished(served, count, kind="COMPLETED"):
    """Wait until so many runs ended so; these runs."""

    def ended():
        runs = [run for run in served.prefect.runs() if run["type"] == kind]
        return runs if len(runs) >= count else None

    return faults.until(ended, lambda: f"{served.prefect.runs()}\n{log(served)}")


def test_two_that_serve_one_workspace_wait_for_their_server_and_go_on_when_it_comes(served):
    served.servers = [served.serve(), served.serve()]
    for server in served.servers:
        faults.until(lambda server=server: "does not answer" in server.message(), server.message)
    served.prefect.start()
    for server in served.servers:
        faults.until(lambda server=server: "polling for scheduled runs" in server.message(), server.message)
    assert all(server.process.poll() is None for server in served.servers), log(served)


def test_broken_params_fail_by_name_and_a_server_killed_in_the_run_of_the_mended_ones_ends_it_well(served):
    path = served.folder / "params.yaml"
    good = path.read_text()
    for number, (text, message) in enumerate(
        ((good + "oops: [1\n", "params.yaml"), (good + "wieght: 1\n", "wieght is not a known parameter")), 1
    ):
        path.write_text(text)
        failed = finished(served, number, "FAILED")
        assert message in failed[-1]["message"]
        assert "\n" not in failed[-1]["message"].strip()
    assert served.in_service() == "v1.0.0"
    before = len(served.prefect.runs())
    go = served.quick.outside / "go"
    served.quick.fault("report", f"until {go}")
    path.write_text(good.replace("  weight: 1.0", "  weight: 0.5"))
    at_work(served, "report")
    served.prefect.kill()
    go.touch()
    served.prefect.start()
    run = finished(served, 1)[-1]
    assert re.search(r"v1\.1\.0 is in service in place of v1\.0\.0: all \d checks passed", run["message"]), (
        run
    )
    assert len(served.prefect.runs()) == before + 1, log(served)
    assert all(run["tags"] == ["watch"] for run in served.prefect.runs())
    assert served.promotions() == ["v1.0.0", "v1.1.0"]
    subject = served.project.git("log", "-1", "--format=%s")
    assert subject == "Retrain: pretrain: reg.weight 1.0 -> 0.5\n"
    served.servers.pop().kill()


def test_a_corrupt_new_image_is_refused_by_name_and_skipped_where_asked(served):
    for split, offset in (("train", 0), ("test", 96)):
        images, labels = digit_images(96 if split == "train" else 48, offset=offset)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            target = served.folder / "data/raw" / split / str(label) / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(target)
    (served.folder / "data/raw/train/0/broken.png").write_bytes(b"no image")
    before = len(finished(served, 2, "FAILED"))
    served.project.change("data.name", "folder")
    failed = finished(served, before + 1, "FAILED")
    faults.until(lambda: "broken.png" in log(served), lambda: log(served))
    assert failed[-1]["message"]
    assert served.in_service() == "v1.1.0"


def test_after_kill_nine_in_a_stage_and_a_restart_of_the_machine_the_work_goes_on(served):
    """tests/test_pipeline.py kills real training; here the run dies by itself, and then with all else."""
    for stage in ("pretrain", "probe"):
        served.quick.fault(stage, "sleep 3600")
    raw = (served.folder / "params.yaml").read_text()
    raw = raw.replace("on_bad: refuse", "on_bad: skip").replace("  weight: 0.5", "  weight: 2.0")
    (served.folder / "params.yaml").write_text(raw)
    stage, run = at_work(served, "pretrain"), served.mark()
    assert "broken.png" in (served.folder / "data/rejected.csv").read_text()
    faults.kill(run["pid"])
    faults.until(lambda: not stage.is_running() or stage.status() == "zombie", "training goes on")
    assert served.in_service() == "v1.1.0"
    at_work(served, "probe")
    restart(served)
    faults.until(lambda: "v1.2.0" in served.promotions(), lambda: log(served))
    faults.until(lambda: served.mark() is None, lambda: log(served))
    assert served.promotions() == ["v1.0.0", "v1.1.0", "v1.2.0"]
    assert served.in_service() == "v1.2.0"
    faults.until(  # a run reports its end after it has left the workspace
        lambda: {run["type"] for run in served.prefect.runs()} == {"COMPLETED", "FAILED", "CRASHED"},
        lambda: f"{served.prefect.runs()}\n{log(served)}",
    )
    assert "Task run 'pretrain'" not in log(served), "what was finished is not done again"


def at_work(served, name):
    """The process of a stage in which a fault lets it sleep, once it does."""
    faults.until(lambda: not (served.quick.faults / name).exists(), lambda: log(served))
    stage = served.stage(name)
    assert stage is not None, log(served)
    return stage


def restart(served):
    """All processes die at once; locks stay, and the numbers of processes are given to others."""
    for server in served.servers:
        server.kill()
    served.prefect.kill()
    other = {"pid": os.getpid(), "cmd": "dvc repro"}
    written, read = (str(served.folder / name) for name in ("models/features", "models/pretrain"))
    held = {"write": {written: other}, "read": {read: [other]}}
    (served.folder / ".dvc/tmp/rwlock").write_text(json.dumps(held))
    (served.folder / ".git/index.lock").touch()
    served.prefect.start()
    served.servers = [served.serve()]
