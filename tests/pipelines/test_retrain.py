"""The flows as people start them: a real Prefect server, real git, DVC and GTO, stages that take a moment."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from infocl.runtime.errors import UserError
from tests.pipelines import faults
from tests.pipelines.quick import ASIDE, QuickProject
from tests.pipelines.server_records import (
    artifact,
    count_of_runs,
    logged,
    newest_run,
    run_of_task,
    runs_of_task,
)
from tests.project import ALL

BLOCK = "custom-webhook/listener"
WITHOUT = (*ASIDE, "probe")


@pytest.fixture(scope="module")
def project(server, listener, tmp_path_factory):
    """The project, its flows known to the server, its messages to the listener; tests build on each other."""
    quick = QuickProject(tmp_path_factory.mktemp("flows") / "a project", without=WITHOUT)
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: server, PREFECT_HOME: tmp_path_factory.mktemp("home")}),
    ):
        patch.chdir(quick.folder)
        message = {"subject": "{{subject}}", "body": "{{body}}"}
        block = CustomWebhookNotificationBlock(name="ops", url=listener[0], json_data=message)
        block.save("listener")
        yield quick


def in_service(project):
    return (project.folder / "exports/service/current").readlink().name


def decisions(project):
    lines = (project.folder / "exports/service/journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_first_run_makes_everything_and_puts_it_in_service(project):
    (project.folder / "notes.txt").write_text("a person's own file, not committed\n")
    message = project.run("infocl", "retrain")
    assert "v1.0.0 is in service: all 3 checks passed." in message
    run = newest_run()
    assert (run.state.name, run.state.type.value) == ("Promoted", "COMPLETED")
    assert run.name.startswith("prepare: ")
    for stage in ALL - set(WITHOUT):
        task = run_of_task(run, stage)
        assert task.state.name == "Completed"
        assert f"Running stage '{stage}'" in message
    assert in_service(project) == "v1.0.0"
    assert project.git("log", "-1", "--format=%s").startswith("Retrain: prepare: ")
    changed = project.git("show", "--name-only", "--format=", "HEAD").split()
    assert {name.partition("/")[0] for name in changed} == {"dvc.lock", "metrics"}
    assert project.git("status", "--short") == "?? notes.txt\n"
    assert set(project.git("tag").split()) == {"encoder@v1.0.0", "encoder#production#1"}
    assert "none in service | candidate" in artifact("gate").data
    assert json.loads(artifact("accuracies").data)[1]["task"] == "digits"
    assert "pretrain" in artifact("changes").data


def test_what_is_in_service_is_what_gto_and_dvc_name_to_consumers(project, tmp_path):
    project.dvc("artifacts", "get", ".", "encoder", "--stage", "production", "-o", str(tmp_path / "got"))
    for path in (project.folder / "exports/service/current").iterdir():
        assert (tmp_path / "got" / path.name).read_bytes() == path.read_bytes()
    assert re.search(r"encoder +│ v1.0.0 +│ v1.0.0", project.run("gto", "show"))


def test_without_a_change_no_flow_is_started(project):
    before = count_of_runs()
    assert project.run("infocl", "retrain") == "Nothing changed; v1.0.0 is in service.\n"
    assert count_of_runs() == before


def test_a_worse_encoder_is_refused_with_both_columns_and_the_reason_and_people_are_told(project, listener):
    project.change("reg.weight", 0.0)
    message = project.run("infocl", "retrain", "--notify", BLOCK, code=3)
    reason = "digits: 66.8 % against 89.1 %, -22.3 points"
    assert "The new encoder was refused, v1.0.0 stays in service: " in message
    assert reason in message
    run = newest_run()
    assert (run.state.name, run.state.type.value) == ("Refused", "FAILED"), "it does not look like a success"
    assert run.name == "pretrain: reg.weight 1.0 -> 0.0"
    assert run.tags == ["person"]
    assert in_service(project) == "v1.0.0"
    assert project.git("tag").split() == ["encoder#production#1", "encoder@v1.0.0"]
    table = artifact("gate").data
    assert table.startswith("## Refused\n")
    assert reason in table
    assert "| | v1.0.0 | candidate | rule | |" in table
    assert re.search(r"\| digits \| 89\.1 % \| 66\.8 % \| .* \| \*\*failed\*\* \|", table)
    (message,) = listener[1]
    assert message["subject"] == "InfoCL: new encoder refused"
    assert reason in message["body"]
    assert decisions(project)[-1]["decision"] == "refused"


def test_a_refused_result_is_not_judged_twice_by_the_same_rules(project, listener):
    message = project.run("infocl", "retrain", "--notify", BLOCK)
    assert message.startswith("Nothing changed; v1.0.0 is in service, and the last result was refused on ")
    assert len(listener[1]) == 1


def test_other_rules_judge_the_same_result_again(project):
    from pipelines.retrain import retrain

    url = "http://127.0.0.1:4280"
    state = retrain(
        gate={"floors": {"digits": 0.99}, "max_size_ratio": 1.2}, report_url=url, return_state=True
    )
    assert state.name == "Refused"
    assert f"({url}/versions.html)" in artifact("versions").data
    page = (project.folder / "exports/reports/versions.html").read_text()
    assert "<h1>v1.0.0 is in service</h1>" in page
    assert "digits, floor: 66.8 %, at least 99.0 %" in page
    assert "digits, floor: 66.8 %, at least 99.0 %" in state.message
    state = retrain(gate={"max_main_drop": 1.0}, return_state=True)
    assert state.is_failed()
    assert "gate.max_main_drop is not a known parameter; did you mean gate.max_mean_drop?" in state.message


def test_force_puts_a_refused_result_in_service_and_the_table_says_so(project):
    message = project.run("infocl", "retrain", "--force")
    assert "v1.1.0 is in service in place of v1.0.0: " in message
    assert newest_run().state.name == "Promoted"
    assert in_service(project) == "v1.1.0"
    message = project.git("tag", "--list", "encoder@v1.1.0", "--format=%(contents:subject)")
    assert message == "Forced: the last result was not judged yet\n"
    assert artifact("gate").data.startswith("## Forced past the gate\n")
    assert "digits: 66.8 % against 89.1 %" in decisions(project)[-1]["reason"]
    assert "Nothing changed; v1.1.0 is in service." in project.run("infocl", "retrain", "--force")


def test_a_failed_stage_is_one_line_of_its_own_everywhere_and_nothing_in_service_changes(project, listener):
    project.change("reg.weight", 0.5)
    project.fault("pretrain", "wrong the weight is not to my taste")
    message = project.run("infocl", "retrain", "--notify", BLOCK, code=2)
    assert message.endswith("infocl: the weight is not to my taste\n")
    run = newest_run()
    assert run.state.is_failed()
    assert "the weight is not to my taste" in run.state.message
    task = run_of_task(run, "pretrain")
    assert task.run_count == 1, "bad params are not tried again"
    assert runs_of_task(run, "transfer") == []
    assert "Traceback" not in logged(run)
    assert in_service(project) == "v1.1.0"
    assert listener[1][-1] == {
        "subject": "InfoCL: retraining failed",
        "body": "the weight is not to my taste. In service as before: v1.1.0.",
    }


def test_a_full_gpu_is_tried_again_and_a_notification_that_cannot_be_sent_spoils_nothing(project):
    # In a process of its own: a process reports its task runs to the first server that it knew.
    flow = (
        "from pipelines.retrain import retrain; "
        "retrain(retry_seconds=[0.1, 0.1], notify='custom-webhook/nobody')"
    )
    project.fault("pretrain", "retryable the GPU is full")
    project.start(sys.executable, "-c", flow).communicate(timeout=faults.DEADLINE)
    run = newest_run()
    assert run.state.name == "Promoted", run.state
    task = run_of_task(run, "pretrain")
    assert task.run_count == 2
    assert in_service(project) == "v1.2.0"
    faults.until(lambda: "the GPU is full" in logged(run), "the log tells of the full GPU")


def test_a_rollback_goes_back_and_a_retraining_without_changes_leaves_it_so(project):
    message = project.run("infocl", "rollback", "--to", "v1.0.0")
    assert message.endswith("v1.0.0 is in service instead of v1.2.0.\n")
    assert in_service(project) == "v1.0.0"
    message = project.run("infocl", "retrain")
    assert message.startswith(
        "Nothing changed; v1.0.0 is in service; v1.2.0 was rolled back and stays out, unless"
    )
    assert in_service(project) == "v1.0.0"


def test_a_version_in_staging_waits_until_a_person_promotes_it(project):
    message = project.run("infocl", "retrain", "--force", "--staging")
    assert "v1.2.0 waits in staging: all " in message
    assert newest_run().state.name == "Staged"
    assert in_service(project) == "v1.0.0"
    message = project.run("infocl", "promote")
    assert message.endswith("v1.2.0 is in service in place of v1.0.0.\n")
    assert in_service(project) == "v1.2.0"
    assert [line["decision"] for line in decisions(project)[-2:]] == ["staged", "promoted"]
    project.run("infocl", "rollback", "--to", "v1.0.0")


def test_a_rollback_does_not_wait_for_training_and_params_edited_meanwhile_are_not_taken_for_its_own(
    project, tmp_path
):
    before = project.git("rev-parse", "HEAD"), project.git("tag", "--list", "encoder@*")
    project.change("export.parity_images", 100)
    project.fault("report", f"until {tmp_path / 'go'}")
    process = project.start("infocl", "retrain")
    while "asleep" not in process.stdout.readline():
        assert process.poll() is None
    shutil.rmtree(project.folder / "exports/service/v1.2.0", ignore_errors=True)
    for name in ("v1.2.0", "v1.0.0"):
        project.run("infocl", "rollback", "--to", name)
        assert in_service(project) == name
    assert process.poll() is None, "the training goes on"
    project.change("seed", 7)
    (tmp_path / "go").touch()
    message, _ = process.communicate(timeout=faults.DEADLINE)
    assert process.returncode == 2
    assert re.search(r"^infocl: params\.yaml .*\bseed\b.*\b0\b.*\b7\b", message.splitlines()[-1]), message
    assert (project.git("rev-parse", "HEAD"), project.git("tag", "--list", "encoder@*")) == before
    assert [one["decision"] for one in decisions(project)[-2:]] == ["rolled back"] * 2
    assert "\nseed: 7" in "\n" + (project.folder / "params.yaml").read_text()


def test_a_sweep_runs_an_experiment_for_each_combination_and_shows_their_table(project):
    project.git("checkout", "--quiet", ".")
    told = project.run("infocl", "sweep", "-S", "reg.weight=0.5,1.0", "-S", "seed=0", "--until", "transfer")
    assert "2 of 2 experiments are done; `dvc exp show` has them." in told
    rows = json.loads(artifact("sweep").data)
    assert [(row["reg.weight"], row["seed"], row["mean transfer %"]) for row in rows] == [
        ("0.5", "0", 90.0),
        ("1.0", "0", 90.0),
    ]
    shown = project.dvc("exp", "show", "--csv")
    assert all(row["experiment"] in shown for row in rows)
    assert artifact("sweep-summary").data.startswith("| experiment | reg.weight | seed | mean transfer % |")
    for name in ("reg.weight=0.5 seed=0", "reg.weight=1.0 seed=0"):
        assert run_of_task(newest_run(), name).state.is_completed()
    assert project.git("status", "--short") == "?? notes.txt\n"


def test_a_bad_combination_is_refused_before_anything_runs(project):
    from pipelines.sweep import expand, require_table

    before = count_of_runs()
    message = project.run("infocl", "sweep", "-S", "reg.weight=0.5,-1", "--until", "transfer", code=2)
    assert message == "infocl: -S reg.weight=-1: reg.weight is -1, but must be at least 0.0\n"
    assert count_of_runs() == before
    with pytest.raises(UserError, match=r"did you mean reg\.weight\?"):
        expand(["reg.wieght=1"])
    with pytest.raises(UserError):
        expand(["reg.weight"])
    with pytest.raises(UserError) as caught:
        require_table("pretrain")
    assert str(caught.value) == (
        "a sweep cannot end with pretrain, its table needs more; use one of transfer, export, report"
    )
