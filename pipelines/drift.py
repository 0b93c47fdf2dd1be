"""The flow `drift`: whether new images are like those of the encoder in service, and what follows if not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed

from infocl.deploy.drift import Drift, find_drift
from infocl.deploy.inputs import find_images, newest_files
from infocl.runtime.errors import InfoCLError, UserError
from pipelines import notices, service


@flow(name="drift", persist_result=False)
def drift(
    images: list[str],
    encoder: str = service.CURRENT.as_posix(),
    false_alarms: float = 0.01,
    newest: int | None = None,
    notify: str | None = None,
    retrain: str | None = None,
) -> State[Any]:
    """Compare new images with those that the encoder was measured on.

    Args:
        images: images, folders, patterns or lists of them.
        encoder: the exported folder; by default the one in service.
        false_alarms: share of checks of images of the known kind that may report drift.
        newest: only so many files, those changed last.
        notify: a notification block that is told of drift and of failures, such as slack-webhook/ops.
        retrain: a deployment that is started where there is drift, such as retrain/retrain-served.
    """
    try:
        files = newest_files(find_images(images), newest)
        found = find_drift(files, Path(encoder), false_alarms=false_alarms)
    except InfoCLError as error:
        notices.notify(notify, "InfoCL: the drift check failed", str(error))
        raise
    _show(found)
    get_run_logger().info(found.line)
    if not found.drift:
        return Completed(name="No drift", message=found.line)
    notices.notify(notify, "InfoCL: drift", found.line)
    if retrain is not None:
        _start(retrain, found.line)
    return Completed(name="Drift", message=found.line)


def _show(found: Drift) -> None:
    rows: list[dict[str, Any]] = [
        {"of": "features", "p": found.features_p},
        {"of": "looks", "p": found.looks_p},
    ]
    rows += [
        {"of": f"mean {name}", "new": round(new, 4), "known": round(known, 4)}
        for name, (new, known) in found.looks.items()
    ]
    create_table_artifact(rows, key="drift", description=found.line)


def _start(deployment: str, why: str) -> None:
    """Start a retraining; it does something where data, params or code have changed since the last."""
    try:
        run_deployment(deployment, flow_run_name="drift", timeout=0, as_subflow=False)
    except (ObjectNotFound, ValueError):
        raise UserError(f"retrain: there is no deployment {deployment!r} to start; {why}") from None
    get_run_logger().info(f"Started {deployment}.")
