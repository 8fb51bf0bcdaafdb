"""Summarize the events of a finished run for `loadsmith run`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loadsmith.cli.selection import RANGE_MARK

_ROW_NAMES = (
    "dagster/partition_row_count",
    "rows_loaded_in_all_partitions",
    "rows_loaded",
    "row_count",
    "dagster/row_count",
)
"""Metadata with rows, the first that is there counts."""

_OF_PARTITION = ("dagster/partition_row_count", "rows_loaded")
"""Those of a single partition; the others count all that a run loaded."""

_LONGEST_VALUE = 100
"""Characters of a value of a failed check that are shown."""

_NOT_SELECTED = frozenset({"loadsmith/came_along", "loadsmith/undeclared"})
"""Metadata of tables that a load brings although they are not selected."""


@dataclass(frozen=True, kw_only=True)
class AssetLine:
    """What a run did to one asset.

    Attributes:
        rows: Rows of this run, or None if unknown or if only `rows_of_range` is known.
        seconds: Time of the step that made it; assets of one load share it.
        destination: Its table or folder in the destination.
        selected: False for a table that its load brought although it was not selected.
        partition: The partition, where it has one.
        rows_of_range: Rows of all partitions of the run together, where the run loaded several of
            them at once and did not count each.
    """

    asset: str
    rows: int | None
    seconds: float | None
    destination: str | None
    selected: bool = True
    partition: str | None = None
    rows_of_range: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did.

    Attributes:
        rows: Rows of all assets together, as far as they are known.
        errors: Reason of the failure of each failed step.
        failed_checks: Checks that failed as errors, as `asset: check`, with what they saw.
        warnings: What the run warned of, and checks that failed as warnings.
    """

    success: bool
    run_id: str
    seconds: float
    rows: int = 0
    lines: tuple[AssetLine, ...] = ()
    errors: tuple[str, ...] = ()
    failed_checks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def build_report(result: Any, seconds: float, logged: Sequence[str] = ()) -> RunReport:
    """Read the events of a finished run.

    Args:
        result: Dagster's `ExecuteInProcessResult`.
        seconds: How long the run took.
        logged: The warnings in its log.
    """
    events = result.all_events
    times = _step_seconds(result)
    found = {}
    for event in events:
        line = _asset_line(event, times)
        if line is not None:
            found[(line.asset, line.partition)] = line
    lines = sorted(found.values(), key=lambda line: (line.asset, line.partition or ""))
    failed, warned = _failed_checks(events)
    errors = tuple(dict.fromkeys(text for event in events for text in _error_texts(event)))
    return RunReport(
        success=result.success and not failed,
        run_id=result.run_id,
        seconds=seconds,
        rows=sum(line.rows or 0 for line in lines_by_range(lines)),
        lines=tuple(lines),
        errors=errors,
        failed_checks=failed,
        warnings=(*dict.fromkeys(logged), *warned),
    )


def lines_by_range(lines: Iterable[AssetLine]) -> list[AssetLine]:
    """Return one line for all partitions of an asset whose rows are only known together."""
    merged: dict[Any, AssetLine] = {}
    for line in lines:
        if line.rows_of_range is None:
            merged[line.asset, line.partition] = line
            continue
        first = merged.get(line.asset, line).partition or ""
        first = first.partition(RANGE_MARK)[0]
        span = first if first == line.partition else f"{first}{RANGE_MARK}{line.partition}"
        merged[line.asset] = replace(line, partition=span, rows=line.rows_of_range)
    return list(merged.values())


def _step_seconds(result: Any) -> dict[str, float]:
    return {
        event.step_key: event.step_success_data.duration_ms / 1000
        for event in result.all_events
        if event.is_step_success
    }


def _asset_line(event: Any, times: dict[str, float]) -> AssetLine | None:
    if not event.is_step_materialization:
        return None
    shown = event.step_materialization_data.materialization
    metadata = {name: entry.value for name, entry in shown.metadata.items()}
    name = next((name for name in _ROW_NAMES if name in metadata), None)
    rows = metadata[name] if name and isinstance(metadata[name], int) else None
    of_range = shown.partition is not None and name not in _OF_PARTITION
    place = metadata.get("destination_file_uri") or metadata.get("dagster/table_name")
    return AssetLine(
        asset=shown.asset_key.to_user_string(),
        rows=None if of_range else rows,
        rows_of_range=rows if of_range else None,
        seconds=times.get(event.step_key),
        destination=str(place) if place else None,
        selected=not _NOT_SELECTED.intersection(metadata),
        partition=shown.partition,
    )


def _failed_checks(events: Iterable[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    failed: list[str] = []
    warned: list[str] = []
    for event in events:
        if event.event_type_value != "ASSET_CHECK_EVALUATION":
            continue
        check = event.asset_check_evaluation_data
        if check.passed:
            continue
        parts = [f"{check.asset_key.to_user_string()}: check {check.check_name}"]
        parts += filter(None, [check.description, _seen_by(check)])
        text = ": ".join(parts)
        (failed if check.severity.value == "ERROR" else warned).append(text)
    return tuple(failed), tuple(warned)


def _seen_by(check: Any) -> str:
    """Return what a check saw as text, such as `rows 64, min 1000`; long values are left out."""
    values = {name: entry.value for name, entry in check.metadata.items()}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in values.items()
    }
    return ", ".join(
        f"{name} {text}"
        for name, text in texts.items()
        if len(text) <= _LONGEST_VALUE and "\n" not in text
    )


def _error_texts(event: Any) -> list[str]:
    if event.is_step_failure:
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return [data.user_failure_data.description]
        return [error_text(data.error)] if data.error else []
    if event.event_type_value == "PIPELINE_FAILURE":
        failure = event.event_specific_data
        # The failed step has reported the reason; the run's error only names the step.
        is_steps = getattr(failure, "first_step_failure_event", None)
        error = getattr(failure, "error", None)
        return [error_text(error)] if error and not is_steps else []
    return []


def was_stopped(result: Any) -> bool:
    """Return whether the user stopped the run with Ctrl-C, which Dagster reports as a failure."""
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        while error is not None:
            if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
                return True
            error = error.cause
    return False


def error_text(error: Any) -> str:
    """Return the message of the innermost error that is not Dagster's own.

    Args:
        error: Dagster's `SerializableErrorInfo`.
    """
    while error.cause is not None and str(error.cls_name).startswith("Dagster"):
        error = error.cause
    message = str(error.message).strip()
    # Dagster writes the error as Python does at the end of a traceback: `package.Name: message`.
    head, separator, tail = message.partition(": ")
    if separator and head.rsplit(".", 1)[-1] == error.cls_name:
        is_ours = head.startswith("loadsmith.")
        return tail if is_ours or error.cls_name == "Failure" else f"{error.cls_name}: {tail}"
    return message
