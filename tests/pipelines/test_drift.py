"""The flow `drift` on a real server: what people see of it, and the retraining that it starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from infocl.runtime.errors import UserError
from pipelines.drift import drift
from pipelines.retrain import retrain
from tests.pipelines.exports import noise, write_export
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
