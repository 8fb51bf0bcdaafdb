"""Find out how a step ended in an earlier run."""

from typing import Any

import dagster as dg


def outcome_of(context: Any, run_id: str) -> str:
    """Return `succeeded`, `failed` or `running`; `unknown` if Dagster has no such run."""
    instance = context.instance
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        return "unknown"
    run, run_end = record.dagster_run, record.end_time
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return "succeeded"
    step = context.get_step_execution_context().step.key
    ends = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}
    ended = [
        log.dagster_event.event_type
        for log in instance.all_logs(run_id, of_type=ends)
        if log.dagster_event
        and log.dagster_event.step_key == step
        # A step may go on after its run was terminated; nobody counts on what it does then.
        and (run_end is None or log.timestamp <= run_end)
    ]
    if ended:
        return "succeeded" if dg.DagsterEventType.STEP_SUCCESS in ended else "failed"
    return "failed" if run.is_finished else "running"
