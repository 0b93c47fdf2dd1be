"""A sweep on a work pool: two workers in two clones, of which one dies."""

from __future__ import annotations

import re

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from infocl.runtime.errors import UserError
from pipelines.pool import name_of, require_pool
from tests.pipelines import faults
from tests.pipelines.once import records
from tests.pipelines.quick import QuickProject

SWEEP = ("infocl", "sweep", "-S", "reg.weight=0.5", "--until", "transfer", "--pool", "grid")
# Prefect's shortest interval between two signs of life is half a minute, too long to wait here.
FAST = """
import prefect.flow_engine

prefect.flow_engine.MINIMUM_HEARTBEAT_INTERVAL = prefect.flow_engine.BaseFlowRunEngine.heartbeat_seconds = 2
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A clone that asks for experiments, and a server."""
    prefect = faults.Prefect(tmp_path_factory.mktemp("prefect"), records(tmp_path_factory))
    prefect.start()
    quick = QuickProject(tmp_path_factory.mktemp("grid") / "asking")
    pool = quick.folder / "pipelines/pool.py"
    pool.write_text(pool.read_text().replace("SILENCE = 120", "SILENCE = 30"))
    with (quick.folder / "pipelines/experiment.py").open("a") as stream:
        stream.write(FAST)
    quick.commit("signs of life come often")
    asking = faults.Serviced(quick.folder, prefect)
    asking.quick, asking.programs = quick, []
    yield asking
    for program in (*asking.programs, prefect.program):
        program.kill()


def test_what_workers_could_not_do_or_hand_over_is_refused_by_its_cause(grid, monkeypatch):
    """In this order; each is put right before the next."""
    monkeypatch.chdir(grid.folder)

    def refused(words):
        with (
            temporary_settings({PREFECT_API_URL: grid.prefect.url}),
            pytest.raises(UserError, match=re.escape(words)),
        ):
            require_pool("grid", "origin")

    message = grid.run(*SWEEP, code=2)
    assert message.startswith("infocl: there is no work pool 'grid' on http://127.0.0.1:"), message
    assert message.count("\n") == 1, message
    grid.run("prefect", "work-pool", "create", "--type", "process", "grid")
    refused("the git remote 'origin', but this clone has none; add it")
    grid.quick.git("init", "--quiet", "--bare", "--initial-branch", "main", "../central.git")
    grid.quick.git("remote", "add", "origin", str(grid.quick.outside / "central.git"))
    refused("this project has no default one; add it (dvc remote add")
    grid.run("dvc", "remote", "add", "--default", "store", str(grid.quick.outside / "store"))
    refused(".dvc/config changed here, which no worker would know")
    grid.quick.commit("a DVC remote")
    refused("the newest commit is not on origin")
    grid.quick.git("branch", "--move", "main")
    grid.quick.git("push", "--quiet", "origin", "main")


def worker(grid, name):
    """A worker in a clone of its own."""
    folder = grid.quick.outside / name
    grid.quick.git("clone", "--quiet", str(grid.quick.outside / "central.git"), str(folder))
    made = faults.Serviced(folder, grid.prefect)
    command = ("prefect", "worker", "start", "--pool", "grid", "--type", "process", "--limit", "1")
    program = made.start(*command, INFOCL_WORKSPACE=str(folder), PREFECT_WORKER_QUERY_SECONDS="1")
    grid.programs.append(program)
    return program


def said(grid):
    return "\n".join(program.message() for program in grid.programs)


def test_another_worker_runs_what_a_dead_one_left_and_the_table_fills_in(grid):
    grid.quick.fault("pretrain", "sleep 600")
    sweep = grid.start(*SWEEP)
    grid.programs.append(sweep)
    faults.until(lambda: "No worker of the work pool grid is online" in sweep.message(), sweep.message)
    first = worker(grid, "first")
    faults.until(lambda: not (grid.quick.faults / "pretrain").exists(), lambda: said(grid))
    worker(grid, "second")
    first.kill()
    faults.until(lambda: sweep.process.poll() is not None, lambda: said(grid))
    message = sweep.message()
    assert sweep.process.returncode == 0, said(grid)
    assert "1 experiment, 1 of them missing." in message
    assert "The worker of reg.weight=0.5 died; another one is asked." in message
    assert "1 of 1 experiments are done; `dvc exp show` has them." in message
    kinds = [run["type"] for run in grid.prefect.runs("experiment")]
    assert (kinds[-1], set(kinds[:-1])) == ("COMPLETED", {"CRASHED"})

    commit = grid.quick.git("rev-parse", "HEAD").strip()
    name = name_of(commit, ["reg.weight=0.5"], "transfer")
    weights = grid.quick.outside / "weights"
    grid.run("dvc", "get", ".", "models/pretrain", "--rev", name, "-o", str(weights))
    assert [*weights.iterdir()], "they come from the DVC remote"

    again = grid.run(*SWEEP)
    assert "1 experiment, 0 of them missing." in again
    assert "1 of 1 experiments are done" in again
    assert [run["type"] for run in grid.prefect.runs("experiment")] == kinds, "nothing is run twice"
