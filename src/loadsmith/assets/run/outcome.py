"""Find out how a step ended in an earlier run."""

from typing import Any

import dagster as dg


def has_ended(context: Any) -> bool:
    """Tell whether Dagster counts the run of a context as ended."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    return record is not None and bool(record.dagster_run.is_finished)


def is_canceled(context: Any) -> bool:
    """Tell whether somebody has asked Dagster to cancel the run of a context."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    canceled = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
    return record is not None and record.dagster_run.status in canceled


def outcome_of(context: Any, load: str, run_id: str) -> str:
    """Return `succeeded`, `failed` or `running`; `unknown` if Dagster has no such run.

    Args:
        context: The context of the step.
        load: The name of the load, which its step had in 0.1.
        run_id: The earlier run.
    """
    instance = context.instance
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        return "unknown"
    run, run_end = record.dagster_run, record.end_time
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return "succeeded"
    start = dg.DagsterEventType.STEP_START
    ends = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}
    logs = [log for log in instance.all_logs(run_id, of_type={start, *ends}) if log.dagster_event]
    step = context.get_step_execution_context().step.key
    if step not in {log.dagster_event.step_key for log in logs}:
        step = f"{step.removesuffix(context.op_def.name)}{load}"
    ended = [
        log.dagster_event.event_type
        for log in logs
        if log.dagster_event.step_key == step
        and log.dagster_event.event_type in ends
        # A step may go on after its run was terminated; nobody counts on what it does then.
        and (run_end is None or log.timestamp <= run_end)
    ]
    if ended:
        return "succeeded" if dg.DagsterEventType.STEP_SUCCESS in ended else "failed"
    return "failed" if run.is_finished else "running"
