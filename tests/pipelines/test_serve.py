"""Serving and deploying, on a project of one stage: schedules, time zones, names, and links to reports."""

from __future__ import annotations

import re
import sys

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from pipelines import reports
from tests.pipelines import faults
from tests.pipelines.server_records import scheduled
from tests.pipelines.toy import entered
from tests.workspace import ROOT


@pytest.fixture(scope="module")
def project(served, server, tmp_path_factory):
    """v1.0.0 is in service, and newer results were not judged; the current folder."""
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: server, PREFECT_HOME: tmp_path_factory.mktemp("home")}),
    ):
        yield entered(served, tmp_path_factory.mktemp("serve"), patch)


def test_a_schedule_starts_a_run_that_completes(project, tmp_path):
    serving = serve(project, tmp_path, "--every", "0.001")
    try:
        run = faults.until(
            lambda: next(filter(_promoted, scheduled("retrain-served", "COMPLETED")), None), serving.message
        )
    finally:
        serving.kill()
    assert "schedule" in run.tags


def _promoted(run):
    """Runs that the schedule starts meanwhile end with nothing to do."""
    return "v1.1.0 is in service" in run.state.message


def test_cron_has_a_time_zone_in_serve_and_in_prefect_yaml(project, tmp_path, monkeypatch):
    """Three in the morning is 18:00 UTC in Tokyo, 07:00 or 08:00 UTC in New York."""
    message = serve(project, tmp_path, "--cron", "0 3 * * *", "--timezone", "Tokyo")
    assert message.process.wait(faults.DEADLINE) == 2
    assert (
        message.message() == "infocl: --timezone Tokyo is not a time zone; name one such as Europe/Berlin\n"
    )
    text = (ROOT / "prefect.yaml").read_text()
    (project.folder / "prefect.yaml").write_text(text.replace("timezone: UTC", "timezone: America/New_York"))
    monkeypatch.setenv("INFOCL_WORKSPACE", str(project.folder))
    project.run("prefect", "work-pool", "create", "--type", "process", "infocl")
    project.run("prefect", "--no-prompt", "deploy", "--all")
    drift = ("--drift-images", ".", "--drift-cron", "0 5 * * *")
    options = ("--cron", "0 3 * * *", "--timezone", "Asia/Tokyo", "--name", "tokyo", *drift)
    serving = serve(project, tmp_path, *options)
    try:
        for name, hours in (("retrain-tokyo", {18}), ("drift-tokyo", {20}), ("retrain-nightly", {7, 8})):
            faults.until(lambda name=name, hours=hours: planned(name, hours), serving.message)
    finally:
        serving.kill()


def planned(name, hours):
    """Whether the runs that schedules of a deployment planned are at these hours of UTC."""
    found = {run.expected_start_time.hour for run in scheduled(name, "SCHEDULED")}
    return bool(found) and found <= hours


def test_deployments_have_names_of_their_own_and_take_the_options_and_no_lease_that_a_server_forgets(project):
    """A run that holds a lease of a `concurrency_limit` is ended when the server lost it, as by a restart."""
    with get_client(sync_client=True) as client:
        made = {one.name: one for one in client.read_deployments()}
    names = {f"{flow}-tokyo" for flow in ("retrain", "sweep", "rollback")}
    assert made.keys() >= names | {"retrain-nightly", "sweep-grid", "rollback-previous"}
    assert made["retrain-nightly"].parameters == dict.fromkeys(("track", "git_remote", "notify"))
    assert all(one.global_concurrency_limit is None for one in made.values())


def test_links_to_reports_name_the_host_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(r"http://ops\.example\.org:\d+", reports.serve("ops.example.org", 0))
    address = reports.serve(reports.LOCAL, 0)
    (tmp_path / "exports/reports/a.html").write_text("a page")
    assert httpx.get(f"{address}/a.html").text == "a page"


def serve(project, folder, *options):
    command = [sys.executable, "-m", "pipelines.serve", "--no-watch", "--report-port", "0", *options]
    return faults.Program(command, project.folder, folder / "log")
