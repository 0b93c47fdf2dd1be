"""`infocl automations`: alerts that the Prefect server sends by itself, also of runs that never came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from prefect.automations import Automation
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture

from infocl.runtime.errors import UserError, one_line

PREFIX = "InfoCL: "
RUN = "{{ flow_run.name }}: {{ flow_run.state.message }}"
SHORTEST = timedelta(seconds=10)  # that Prefect takes for what did not happen


@dataclass(frozen=True)
class Alert:
    """What is told when a run of a flow enters a state; with `within`, when none did for so long."""

    title: str
    flow: str
    state: str
    body: str
    within: timedelta | None = None


def alerts(hours: float) -> list[Alert]:
    """All alerts; `hours` without a run of the flow retrain are too many."""
    missing = (
        f"No retraining has started for {hours:g} hours: is the server, `pipelines.serve` or the worker away?"
    )
    return [
        Alert("a retraining is late", "retrain", "Late", "{{ flow_run.name }} was not started in time."),
        Alert("no retraining", "retrain", "Running", missing, timedelta(hours=hours)),
        Alert("a retraining crashed", "retrain", "Crashed", RUN),
        Alert("a retraining failed", "retrain", "Failed", RUN),
        Alert("a new encoder was refused", "retrain", "Refused", RUN),
        Alert("new images drift", "drift", "Drift", RUN),
        Alert("a drift check failed", "drift", "Failed", RUN),
    ]


def register(block: str, hours: float) -> Iterator[str]:
    """Register all alerts, or bring those that are there up to date; their names.

    Args:
        block: any notification block, such as slack-webhook/ops.
        hours: without a run of the flow retrain that are too many; at least 10 seconds.

    Raises:
        UserError: there is no such notification block, or the hours are too few.
    """
    if timedelta(hours=hours) < SHORTEST:
        raise UserError(f"--hours {hours:g} is less than ten seconds; take more than the schedule's interval")
    document = _document(block)
    for alert in alerts(hours):
        name = PREFIX + alert.title
        action = SendNotification(block_document_id=document, subject=name, body=alert.body)
        automation = Automation(
            name=name, description=f"By {block}.", trigger=_trigger(alert), actions=[action]
        )
        with get_client(sync_client=True) as client:
            for old in client.read_automations_by_name(name):
                client.delete_automation(old.id)
        automation.create()
        yield name


def _trigger(alert: Alert) -> EventTrigger:
    missing = alert.within is not None
    return EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": alert.flow},
        expect={f"prefect.flow-run.{alert.state}"},
        posture=Posture.Proactive if missing else Posture.Reactive,
        threshold=1,
        within=alert.within or timedelta(0),
    )


def _document(block: str) -> UUID:
    try:
        loaded = Block.load(block)
    except ValueError as error:
        raise UserError(
            f"there is no block {block} ({one_line(error)}); prefect block ls lists them"
        ) from None
    if not isinstance(loaded, NotificationBlock):
        raise UserError(f"{block} is not a notification block; prefect block type ls lists their types")
    assert loaded._block_document_id is not None
    return loaded._block_document_id
