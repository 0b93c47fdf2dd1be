"""Drift and alerts on a real server: what people see and are told, and the retraining that drift starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Completed, Crashed

from infocl.runtime.errors import UserError
from pipelines.automations import alerts, register
from pipelines.drift import drift
from pipelines.retrain import retrain
from tests.pipelines.exports import noise, write_export
from tests.pipelines.faults import until
from tests.pipelines.server_records import artifact, runs_of_deployment

BLOCK = "custom-webhook/listener"


@pytest.fixture(scope="module")
def told(server, listener, tmp_path_factory):
    """What people were told; the current folder has an encoder in service and images of two kinds."""
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: server, PREFECT_HOME: tmp_path_factory.mktemp("home")}),
    ):
        patch.chdir(tmp_path_factory.mktemp("drift"))
        write_export(Path("exports/service/current"), digits=(400, 449))
        for name, images in (("alike", noise(3, 30)), ("darker", noise(4, 30) // 2)):
            Path(name).mkdir()
            for number, image in enumerate(images):
                Image.fromarray(image).save(f"{name}/{number}.png")
        message = {"subject": "{{subject}}", "body": "{{body}}"}
        CustomWebhookNotificationBlock(name="ops", url=listener[0], json_data=message).save("listener")
        retrain.to_deployment("served").apply()
        yield listener[1]


def test_images_of_the_known_kind_tell_nobody_and_start_nothing(told):
    state = drift(["alike"], notify=BLOCK, retrain="retrain/served", return_state=True)
    assert (state.name, state.type.value) == ("No drift", "COMPLETED")
    assert state.message.startswith("No drift: 30 of 30 images cannot be told from the 40 test images")
    assert told == []
    assert runs_of_deployment("served") == []


def test_drift_is_shown_told_and_starts_a_retraining(told):
    state = drift(["darker"], notify=BLOCK, retrain="retrain/served", return_state=True)
    assert (state.name, state.type.value) == ("Drift", "COMPLETED")
    (message,) = told
    assert message["subject"] == "InfoCL: drift"
    assert message["body"] == state.message
    assert "brightness" in message["body"]
    rows = {row["of"]: row for row in json.loads(artifact("drift").data)}
    assert rows["mean brightness"]["new"] == pytest.approx(rows["mean brightness"]["known"] / 2, rel=0.1)
    (run,) = runs_of_deployment("served")
    assert run.name == "drift"


def test_what_cannot_be_compared_fails_by_one_line_that_people_are_told(told):
    with pytest.raises(UserError, match="nowhere does not exist"):
        drift(["nowhere"], notify=BLOCK)
    assert told[-1]["subject"] == "InfoCL: the drift check failed"
    with pytest.raises(UserError, match="no deployment 'retrain/none' to start"):
        drift(["darker"], retrain="retrain/none")


def test_the_server_tells_of_each_fault_by_itself(told, monkeypatch, listener):
    """Late: a retraining that nobody serves. Missing: none began for ten seconds."""
    for _ in range(2):
        assert [name.removeprefix("InfoCL: ") for name in register(BLOCK, hours=10 / 3600)][:2] == [
            "a retraining is late",
            "no retraining",
        ]
    with get_client(sync_client=True) as client:
        assert len(client.read_automations()) == len(alerts(1.0)), "registered twice, they are there once"
    run_deployment("retrain/served", flow_run_name="nightly", timeout=0)
    cut_off = run_deployment("retrain/served", flow_run_name="cut off", timeout=0)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(cut_off.id, Crashed(message="its process is gone"), force=True)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    failed = retrain(return_state=True)
    assert failed.is_failed()
    drift(["darker"])
    drift(["nowhere"], return_state=True)
    refused = flow(lambda: Completed(name="Refused", message="digits: too few"), name="retrain")
    refused(return_state=True)
    expected = {  # what else is late, silent or missing on a busy machine is told as well
        "a retraining crashed": "cut off: its process is gone",
        "a drift check failed": "nowhere does not exist",
        "a retraining failed": failed.message.splitlines()[0],
        "new images drift": "Drift: 30 of 30 images",
        "a new encoder was refused": "digits: too few",
        "no retraining": "No retraining has started for",
        "a retraining is late": "nightly was not started in time",
    }

    def heard():
        pairs = [(message["subject"].removeprefix("InfoCL: "), message["body"]) for message in listener[1]]
        return all(
            any(of == title and words in body for of, body in pairs) for title, words in expected.items()
        )

    until(heard, lambda: {str(message) for message in listener[1]})


def test_only_a_notification_block_can_be_told(told):
    with pytest.raises(UserError, match="there is no block slack-webhook/nobody"):
        list(register("slack-webhook/nobody", 26.0))
    with pytest.raises(UserError, match="less than ten seconds"):
        list(register(BLOCK, 0.001))
