"""What people are told: artifacts in Prefect's pages, and messages by its notification blocks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

from infocl.results.card import CardMetrics
from infocl.results.scores import KINDS
from infocl.runtime.errors import one_line
from pipelines.gate import Verdict

WATCH = "watch"
STARTERS = {WATCH, "schedule", "person"}  # tags of runs


def show_verdict(verdict: Verdict, names: tuple[str, str], outcome: str) -> None:
    """The gate's table: in service, candidate, rule, for each check."""
    lines = [
        f"## {outcome}",
        "",
        f"{verdict.reason[0].upper()}{verdict.reason[1:]}.",
        "",
        f"| | {names[0]} | {names[1]} | rule | |",
        "|---|---|---|---|---|",
        *(
            f"| {check.what} | {check.now} | {check.new} | {check.rule} | "
            f"{'passed' if check.passed else '**failed**'} |"
            for check in verdict.checks
        ),
    ]
    create_markdown_artifact("\n".join(lines), key="gate", description=outcome)


def show_metrics(metrics: CardMetrics) -> None:
    """Scores of the new encoder, one row for each task."""
    tasks = ({"source": metrics.source} if metrics.source else {}) | metrics.transfer
    rows = [
        {
            "task": name,
            "scored by": KINDS[row.kind].name,
            "score %": round(100 * row.score, 1),
            "from %": round(100 * row.score_ci95[0], 1),
            "to %": round(100 * row.score_ci95[1], 1),
            "kNN %": round(100 * row.knn_score, 1),
            "test images": row.test_images,
        }
        for name, row in tasks.items()
    ]
    create_table_artifact(rows, key="accuracies", description="Linear probe with its 95 % interval")


def show_plan(lines: Sequence[str]) -> None:
    """What changed, stage by stage."""
    create_markdown_artifact("\n".join(f"- {line}" for line in lines), key="changes", description=lines[0])


def tag_starter() -> None:
    """Tag the run by what started it: schedule, watch or person; a name that says what changed does not."""
    tags = set(flow_run.tags or [])
    if tags & STARTERS:
        return
    tags.add("schedule" if "auto-scheduled" in tags else "person")
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.get_id()), tags=sorted(tags))


def show_ended(run: str) -> None:
    """Log that a run is over whose process is gone; if nobody does, Prefect shows it as running for ever."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(run)).state
        except (ObjectNotFound, ValueError):  # recorded by a server of its own, or a mark cut off
            return
        if state is None or not state.is_final():
            ended: State[Any] = Crashed(message="It was cut off; the run after it went on with its work.")
            client.set_flow_run_state(UUID(run), ended, force=True)


def notify(block: str | None, subject: str, body: str) -> None:
    """Tell people by a notification block such as slack-webhook/ops; a failure is logged, never raised."""
    if block is None:
        return
    log = get_run_logger()
    try:
        loaded = Block.load(block)
        if not isinstance(loaded, NotificationBlock):
            raise TypeError(f"{block} is not a notification block")
        with loaded.raise_on_failure():
            sending = loaded.notify(body, subject)  # done at once by some blocks, to be awaited of others
            if inspect.isawaitable(sending):
                asyncio.run(sending)
    except Exception as error:  # whatever a chat server answers, the run's own result stands
        log.error(f"The notification by {block} failed ({one_line(error)}).")
