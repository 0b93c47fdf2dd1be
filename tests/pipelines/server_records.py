"""What the Prefect server in use knows of runs, for tests that look at it as its pages do."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
)
from prefect.client.schemas.sorting import FlowRunSort

from tests.pipelines.faults import until


def newest_run():
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0]


def count_of_runs():
    with get_client(sync_client=True) as client:
        return len(client.read_flow_runs())


def artifact(key):
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return max(found, key=lambda one: one.created)


def logged(run):
    with get_client(sync_client=True) as client:
        logs = client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": [str(run.id)]}}))
    return "\n".join(line.message for line in logs)


def runs_of_task(run, name):
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    with get_client(sync_client=True) as client:
        tasks = client.read_task_runs(flow_run_filter=of_run)
    return [task for task in tasks if task.name == name]


def run_of_task(run, name):
    """The task's run in its last state, which the server writes down a moment after the flow has ended."""

    def ended():
        found = runs_of_task(run, name)
        return found if found and all(task.state.is_final() for task in found) else None

    (task,) = until(ended, lambda: f"the server knows no run of {name} that ended: {runs_of_task(run, name)}")
    return task


def runs_of_deployment(name):
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name]))
        )


def scheduled(deployment, kind):
    """Runs that a schedule of a deployment made, and not a person."""
    runs = runs_of_deployment(deployment)
    return (run for run in runs if run.auto_scheduled and run.state.type.value == kind)
