"""Build the jobs and schedules of a project."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any

import dagster as dg

from loadsmith.assets.define import check_cron
from loadsmith.config.models import JobParams, TriggerParams
from loadsmith.config.project_files import Located
from loadsmith.errors import ConfigError, Problem
from loadsmith.project.executors import make_executor

_KEY_IN_SELECTION = re.compile(
    r"^(?P<before>(?:\d*\+|\*)*)(?P<key>[\w./-]+)(?P<after>(?:\+\d*|\*)*)$"
)
"""A selection of a single key, with or without its parents and children."""


def build_job(
    job: Located[JobParams],
    *,
    names_of: Callable[[str], tuple[str, ...]],
    partitions: Mapping[str, Any] | None,
    base_path: str,
) -> tuple[dg.Definitions, list[Problem]]:
    """Build a job and the schedules that start it.

    Args:
        job: The job as it is written.
        names_of: Returns the asset keys that a key in a file stands for.
        partitions: Partitions of the partitioned assets, by key; None if unknown.
        base_path: Folder whose modules an executor may be in.

    Returns:
        The job and its schedules, and their problems.
    """
    problems: list[Problem] = []
    selections: list[dg.AssetSelection] = []
    for index, text in enumerate(job.value.asset_selection):
        try:
            selections += [_select(part) for part in _real(text, names_of)]
        except dg.DagsterError as error:
            message = (
                f"{text!r} is no asset selection ({_first_line(error)}). Write a key, or one "
                "such as 'key*' or 'group:raw'."
            )
            problems.append(job.problem(message, "asset_selection", index))
    executor = None
    if job.value.executor is not None:
        entry = Located(job.value.executor, job.document, (*job.path, "executor"))
        executor, mistakes = make_executor(entry, base_path)
        problems += mistakes
    if not selections:
        return dg.Definitions(), problems
    built = dg.define_asset_job(
        name=job.value.job_id,
        selection=reduce(or_, selections),
        description=job.value.description,
        tags=dict(job.value.tags) or None,
        executor_def=executor,
    )
    schedules = []
    for index, trigger in enumerate(job.value.triggers):
        try:
            schedules.append(_build_schedule(job, trigger, built, partitions, names_of))
        except ConfigError as error:
            problems.append(job.problem(str(error), "triggers", index, "params"))
    return dg.Definitions(jobs=[built], schedules=schedules), problems


def _build_schedule(
    job: Located[JobParams],
    trigger: TriggerParams,
    built: Any,
    partitions: Mapping[str, Any] | None,
    names_of: Callable[[str], tuple[str, ...]],
) -> Any:
    params = trigger.params.schedule_params
    status = dg.DefaultScheduleStatus[trigger.default_status]
    if trigger.params.schedule_kind == "cron":
        return _build_cron_schedule(
            trigger,
            built,
            cron_schedule=check_cron(params.cron_schedule, where="`cron_schedule`"),
            timezone=params.timezone,
            status=status,
        )
    if partitions is not None:
        _check_is_partitioned(job, partitions, names_of)
    return dg.build_schedule_from_partitioned_job(
        built,
        name=trigger.trigger_id,
        description=trigger.description,
        minute_of_hour=params.minute_of_hour,
        hour_of_day=params.hour_of_day,
        day_of_week=params.day_of_week,
        day_of_month=params.day_of_month,
        cron_schedule=params.cron_schedule,
        default_status=status,
    )


def _build_cron_schedule(
    trigger: TriggerParams,
    built: Any,
    *,
    cron_schedule: str,
    timezone: str | None,
    status: dg.DefaultScheduleStatus,
) -> Any:
    """Build a schedule that runs the job, or its latest partition if it has partitions."""

    @dg.schedule(
        name=trigger.trigger_id,
        job=built,
        cron_schedule=cron_schedule,
        execution_timezone=timezone,
        description=trigger.description,
        default_status=status,
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> Any:
        assert context.repository_def is not None
        partitions = context.repository_def.get_job(built.name).partitions_def
        with dg.partition_loading_context(
            effective_dt=context.scheduled_execution_time,
            dynamic_partitions_store=context.instance,
        ):
            yield from _requests_for(partitions)

    return schedule


def _select(text: str) -> dg.AssetSelection:
    with warnings.catch_warnings():
        # `*` and `group:x` cause a warning about an argument that Dagster itself passes.
        warnings.simplefilter("ignore")
        return dg.AssetSelection.from_string(text)


def _requests_for(partitions: Any) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Yield a run for the latest window, or for each partition that is not a window."""
    if partitions is None:
        yield dg.RunRequest()
    elif isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        key = partitions.get_last_partition_key()
        if key is None:
            yield dg.SkipReason("no partition has ended yet")
        else:
            yield dg.RunRequest(partition_key=key)
    else:
        for key in partitions.get_partition_keys():
            yield dg.RunRequest(partition_key=key)


def _check_is_partitioned(
    job: Located[JobParams],
    partitions: Mapping[str, Any],
    names_of: Callable[[str], tuple[str, ...]],
) -> None:
    """Refuse a schedule by partition for a job whose selected keys have no partitions.

    Raises:
        ConfigError: None of the assets has partitions.
    """
    keys = [
        match["key"] for match in map(_KEY_IN_SELECTION.match, job.value.asset_selection) if match
    ]
    if len(keys) < len(job.value.asset_selection):
        return
    if not any(name in partitions for key in keys for name in names_of(key)):
        raise ConfigError(
            f"the assets of the job '{job.value.job_id}' have no partitions, which "
            "`schedule_kind: partition` needs. Add them to `partitions`, or take "
            "`schedule_kind: cron`."
        )


def _real(text: str, names_of: Callable[[str], tuple[str, ...]]) -> Iterator[str]:
    match = _KEY_IN_SELECTION.match(text)
    if match is None:
        yield text
        return
    for name in names_of(match["key"]):
        yield f"{match['before']}{name}{match['after']}"


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
