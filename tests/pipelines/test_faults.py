"""Faults of a run started by hand: each befalls it for real, and the run after it ends well.

What trains is stood in for, because none of these faults concerns training.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

from tests.pipelines import faults
from tests.pipelines.once import records
from tests.pipelines.quick import ASIDE, QuickProject
from tests.ports import free_port


@pytest.fixture(scope="module")
def prefect(tmp_path_factory):
    prefect = faults.Prefect(tmp_path_factory.mktemp("prefect"), records(tmp_path_factory))
    prefect.start()
    yield prefect
    prefect.kill()


@pytest.fixture(scope="module")
def project(tmp_path_factory, prefect):
    """v1.0.0 is in service; the branch `other` holds results that were never judged."""
    outside = tmp_path_factory.mktemp("hand")
    quick = QuickProject(outside / "project", without=(*ASIDE, "probe", "report"))
    for encoder in (outside / "encoders").iterdir():
        make_large(encoder)
    made = faults.Serviced(quick.folder, prefect)
    made.run("dvc", "remote", "add", "--default", "store", str(outside / "remote"))
    quick.commit("a DVC remote")
    made.retrain()
    quick.change("reg.weight", 0.5)
    made.run("dvc", "repro", "--quiet")
    quick.commit("other results")
    quick.git("branch", "other")
    yield made
    made.forget()


def make_large(encoder):
    """A card of so many bytes that a disk may be full for it and not for all else."""
    card = encoder / "README.md"
    card.write_bytes(np.random.default_rng(0).bytes(3_000_000))
    with (encoder / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(card.read_bytes()).hexdigest()}  {card.name}\n")


def test_an_unreachable_remote_is_tried_again_and_the_next_run_promotes_without_training(project):
    url = f"http://127.0.0.1:{free_port()}/store"
    project.run("dvc", "remote", "modify", "--local", "store", "url", url)
    message = project.retrain(code=1)
    assert "Retry 1/1" in message
    last = message.splitlines()[-1]
    assert last.startswith("infocl: the DVC remote did not take the results, which stay here"), message
    assert project.in_service() == "v1.0.0"
    project.run("dvc", "remote", "modify", "--local", "store", "--unset", "url")
    message = project.retrain()
    assert "v1.1.0 is in service in place of v1.0.0" in message
    assert "Running stage" not in message
    assert project.in_service() == "v1.1.0"


def test_without_its_server_a_run_says_so_and_two_at_once_make_one_promotion(project):
    """Each brings a server of its own, and both keep their records in one folder."""
    project.offer("encoder@v1.0.0")
    before = project.promotions()
    dead = f"http://127.0.0.1:{free_port()}/api"
    both = [project.start_retrain(dead) for _ in range(2)]
    for one in both:
        assert one.process.wait(faults.DEADLINE) == 0, one.message()
    message = [one.message() for one in both]
    for text in message:
        assert f"the Prefect server {dead} does not answer; this run is recorded on this machine only" in text
    assert sorted("v1.0.0 is in service in place of v1.1.0" in text for text in message) == [False, True], (
        message
    )
    assert sorted("Nothing changed; v1.0.0 is in service" in text for text in message) == [False, True], (
        message
    )
    assert project.promotions() == [*before, "v1.0.0"]
    assert project.in_service() == "v1.0.0"


def test_results_that_another_clone_made_are_taken_from_the_dvc_remote_and_not_made_again(project, tmp_path):
    project.project.git("clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = faults.Serviced(tmp_path / "clone", project.prefect)
    message = clone.retrain()
    assert "v1.0.0 stays in service." in message or "v1.0.0 is in service" in message
    assert "Pulling data for stage: 'pretrain'" in message
    assert "Running stage" not in message
    assert clone.in_service() == project.in_service()


def test_a_clock_set_back_leaves_the_new_version_in_service_for_all_who_ask(project):
    """All tags were made by a clock that was ahead; GTO and DVC go by the dates of tags."""
    project.date_tags_ahead()
    project.offer("other")
    assert "v1.1.0 is in service in place of v1.0.0" in project.retrain()
    assert project.in_service() == "v1.1.0"
    shown = project.run("gto", "show", "encoder", "--json")
    rows = json.loads(shown[shown.index("[") :])
    assert [row["version"] for row in rows if row["stages"]] == ["v1.1.0"], shown
    project.run("dvc", "artifacts", "get", ".", "encoder", "--stage", "production", "-o", "had")
    assert files(project.folder / "had") == files(project.folder / "exports/service/current")
    shutil.rmtree(project.folder / "had")


def test_a_full_disk_stops_a_promotion_in_one_line_and_loses_nothing(project, tmp_path):
    """Of a stage tests/test_stage.py sees the same."""
    with faults.small_disk(tmp_path / "disk", megabytes=400) as real:
        small = faults.copied(project.folder, tmp_path / "disk/project", project.prefect)
        small.offer("encoder@v1.0.0")
        shutil.rmtree(small.folder / "exports/service/v1.0.0", ignore_errors=True)
        with full(small, real):
            message = small.retrain(code=2)
            assert "Running stage" not in message
            assert "infocl: the disk is full" in message.splitlines()[-1]
        assert small.in_service() == "v1.1.0"
        assert "v1.0.0 is in service in place of v1.1.0" in small.retrain()
        assert small.in_service() == "v1.0.0"
        small.forget()


def test_ctrl_c_and_timeout_end_a_run_in_one_line_with_its_stage_and_its_temporary_server(project):
    project.project.change("seed", 1)
    url = f"http://127.0.0.1:{free_port()}/api"
    run = asleep(project, "infocl", "retrain", PREFECT_API_URL=url)
    assert any("uvicorn" in process.cmdline() for process in run.tree())
    ends_in_one_line(run, lambda: os.killpg(run.process.pid, signal.SIGINT), 130)
    run = asleep(project, "timeout", "3600", "infocl", "retrain")
    ends_in_one_line(run, run.process.terminate, 143)


def test_the_run_after_a_cancelled_one_merges_results_of_others_and_completes(project, tmp_path):
    git = project.project.git
    assert " M dvc.lock" in git("status", "--short"), "the test before this one leaves results"
    branch = git("branch", "--show-current").strip()
    git("clone", "--quiet", "--bare", ".", str(tmp_path / "upstream.git"))
    git("remote", "add", "upstream", str(tmp_path / "upstream.git"))
    git("clone", "--quiet", str(tmp_path / "upstream.git"), str(tmp_path / "colleague"))
    colleague = faults.Serviced(tmp_path / "colleague", project.prefect).project
    colleague.git("checkout", "encoder@v1.0.0", "--", "dvc.lock", "metrics")
    colleague.git("-c", "user.name=C", "-c", "user.email=c@example.org", "commit", "-m", "their results")
    colleague.git("push", "--quiet", "origin", f"HEAD:{branch}")
    message = project.retrain(0, "--track", f"upstream/{branch}")
    assert f"New commits of upstream/{branch} are merged." in message
    assert "Results are commit" in message
    assert git("status", "--short") == ""
    assert "their results" in git("log", "--format=%s")
    assert [run["type"] for run in project.prefect.runs()[-2:]] == ["CRASHED", "COMPLETED"]
    assert "seed: 1" in git("show", "HEAD:params.yaml"), "the edit of a person is kept"


def asleep(project, *command, **variables):
    """A run while it pretrains."""
    (project.folder.parent / "faults/pretrain").write_text("sleep 3600")
    run = project.start(*command, **variables)
    faults.until(lambda: "asleep" in run.message(), run.message)
    return run


def ends_in_one_line(run, interrupt, code):
    before, tree = run.message(), run.tree()
    interrupt()
    assert run.process.wait(faults.DEADLINE) == code, run.message()
    assert run.message().removeprefix(before) == "infocl: interrupted; run again to continue\n"
    _, alive = psutil.wait_procs(tree, timeout=faults.DEADLINE)
    assert not alive


@contextmanager
def full(small, real):
    """A disk with room for all but a card; where none can be mounted, a limit on the size of each file."""
    filler = small.folder.parent / "filler"
    if not real:
        with faults.limited(2_500_000):
            yield
        return
    faults.fill(filler, 300_000)
    yield
    filler.unlink()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
