"""A Dagster context and the id of an earlier run in, how this step ended there out."""

from typing import Any

import dagster as dg


def outcome_of(context: Any, run_id: str) -> str:
    """Return `succeeded`, `failed`, `running`, or `unknown` where Dagster keeps no such run."""
    instance = context.instance
    run = instance.get_run_by_id(run_id)
    if run is None:
        return "unknown"
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return "succeeded"
    step = context.get_step_execution_context().step.key
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    if any(log.dagster_event and log.dagster_event.step_key == step for log in logs):
        return "succeeded"
    return "failed" if run.is_finished else "running"
