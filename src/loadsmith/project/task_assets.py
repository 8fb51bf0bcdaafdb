"""Build the asset of a task: an op that fills in variables and runs the task."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, ValidationError

from loadsmith.assets._dagster import build_freshness_checks, build_freshness_sensor
from loadsmith.assets.build import build_retry_policy
from loadsmith.assets.define import (
    build_automation_condition,
    build_backfill_policy,
    read_partitions,
)
from loadsmith.config.models import Asset, DltAsset, TaskAsset
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.config.templates import names_in, render
from loadsmith.errors import ConfigError, LoadsmithError, Problem, ResolveError, did_you_mean
from loadsmith.project.loads import code_reference
from loadsmith.project.make_resources import ProjectResources, fixed_problems
from loadsmith.project.resources import DuckDBDatabase
from loadsmith.project.task_types import find_task_type
from loadsmith.project.tasks import TaskContext, to_result
from loadsmith.project.variables import Parents, project_variables


@dataclass(frozen=True, kw_only=True)
class TaskSurroundings:
    """The parts of a project that the asset of a task needs.

    Attributes:
        files: The files of the project.
        op_name: Name of the op, unique in the project.
        has_broken_resources: Whether a resource has a mistake, so that not all are known.
        resources: The resources of the project.
        partitions_def: The partitions of the asset, or None.
        parents: The assets in `depends_on`, for variables.
        deps: Keys of all assets that come first.
        loads: The loads among `depends_on`, by key.
    """

    files: ProjectFiles
    op_name: str
    has_broken_resources: bool = False
    resources: ProjectResources = field(default_factory=ProjectResources)
    partitions_def: "dg.PartitionsDefinition[Any] | None" = None
    parents: Parents = field(default_factory=Parents)
    deps: tuple[str, ...] = ()
    loads: Mapping[str, Located[DltAsset]] = field(default_factory=dict)


def build_task(
    task: Located[TaskAsset], around: TaskSurroundings
) -> tuple[list[dg.AssetsDefinition], list[Problem]]:
    """Build the asset of a task, and return its problems."""
    entry = task.value
    try:
        model = find_task_type(entry.task_type, project_folder=Path(around.files.base_path))
    except ResolveError as error:
        return [], [task.problem(str(error), "task_type")]
    problems = [*_unknown_fields(task, model), *fixed_problems(task, model, entry.params)]
    given: dict[str, Any] = {}
    is_known = True
    required = tuple(getattr(model, "required_resources", ()) or around.resources.keys)
    for kind in required:
        if kind in around.resources.keys:
            continue
        implied = _implied_duckdb(around) if kind == "duckdb" else None
        if implied is None and around.has_broken_resources:
            is_known = False
        elif implied is None:
            message = (
                f"the task '{entry.task_type}' needs a resource of the kind '{kind}'. Add "
                f"`- resource_kind: {kind}` to `resources` in dagster_config.yaml."
            )
            problems.append(task.problem(message, "task_type"))
        else:
            given[kind] = implied
    if entry.checks:
        message = "checks look at the tables of dlt loads, which a task has none of. Remove them."
        problems.append(task.problem(message, "checks", at_key=True))
    if entry.preview:
        message = "a preview shows rows of the tables of dlt loads. Remove it."
        problems.append(task.problem(message, "preview", at_key=True))
    problems += one_partition_problems(task, names_in(entry.params))
    if problems or not is_known:
        # The mistake in the resources is reported already.
        return [], problems
    try:
        spec = _build_spec(task, model, around)
        return [_build_op(task, model, spec, around, required, given)], []
    except (ConfigError, dg.DagsterError) as error:
        return [], [task.problem(with_advice(error))]


def one_partition_problems(entry: Located[Asset], names: Collection[str]) -> list[Problem]:
    """Return the problem of an asset that uses its partition key but runs several partitions."""
    most = entry.value.max_partitions_per_run
    if "context.partition_key" not in names or most in (None, 1):
        return []
    message = (
        f"'{{{{context.partition_key}}}}' is one partition, and a run may have {most} of them "
        "here. Take the start and the end of the window instead, or one partition per run."
    )
    return [entry.problem(message, "max_partitions_per_run")]


def build_task_freshness(
    tasks: Iterable[Located[TaskAsset]], *, taken: Collection[str]
) -> dg.Definitions:
    """Build the freshness checks of tasks, and the sensor that evaluates them.

    Args:
        tasks: The tasks.
        taken: Names of existing sensors.
    """
    by_seconds: dict[float, list[dg.AssetKey]] = {}
    for task in tasks:
        seconds = task.value.freshness_lower_bound_delta_seconds
        if seconds is not None:
            key = dg.AssetKey.from_user_string(task.value.asset_key)
            by_seconds.setdefault(seconds, []).append(key)
    checks = [
        check
        for seconds, keys in by_seconds.items()
        for check in build_freshness_checks(keys, seconds)
    ]
    if not checks:
        return dg.Definitions()
    name = "tasks_freshness"
    while name in taken:
        name = f"project_{name}"
    return dg.Definitions(asset_checks=checks, sensors=[build_freshness_sensor(checks, name)])


def with_advice(error: Exception) -> str:
    """Return the first line of an error; adds advice to Dagster's errors, which have none."""
    text = str(error).split("\n", 1)[0]
    return text if isinstance(error, LoadsmithError) else f"{text.rstrip('. ')}. Change it."


def _build_spec(
    task: Located[TaskAsset], model: type[BaseModel], around: TaskSurroundings
) -> dg.AssetSpec:
    entry = task.value
    condition = None
    if entry.automation_condition:
        condition = build_automation_condition(
            entry.automation_condition, entry.automation_condition_config, where="the task"
        )
    return dg.AssetSpec(
        key=dg.AssetKey.from_user_string(entry.asset_key),
        deps=[dg.AssetKey.from_user_string(dep) for dep in dict.fromkeys(around.deps)],
        description=entry.description,
        group_name=entry.group_name,
        owners=list(entry.owners) or None,
        tags=dict(entry.tags),
        kinds={*getattr(model, "kinds", ()), *entry.kinds},
        metadata={
            **code_reference(task, around.files.root),
            **_metadata_of(task, model, around),
            **entry.metadata,
            "loadsmith/task_type": entry.task_type,
        },
        automation_condition=condition,
    )


def _metadata_of(
    task: Located[TaskAsset], model: type[BaseModel], around: TaskSurroundings
) -> Mapping[str, Any]:
    # Any pydantic model with a `run` is a task type.
    tells = getattr(model, "spec_metadata", None)
    found = tells(task.value.params, Path(around.files.base_path)) if tells else {}
    return dict(found)


def _build_op(
    task: Located[TaskAsset],
    model: type[BaseModel],
    spec: dg.AssetSpec,
    around: TaskSurroundings,
    required: tuple[str, ...],
    given: Mapping[str, Any],
) -> dg.AssetsDefinition:
    entry, op = task.value, task.value.to_op_settings()
    names = names_in(entry.params)
    keys = {kind: around.resources.keys[kind] for kind in required if kind not in given}

    @dg.multi_asset(
        name=around.op_name,
        specs=[spec],
        partitions_def=around.partitions_def,
        backfill_policy=build_backfill_policy(around.partitions_def, op.max_partitions_per_run or 1)
        if around.partitions_def is not None
        else None,
        required_resource_keys=set(keys.values()),
        retry_policy=build_retry_policy(op),
        op_tags=dict(op.op_tags) or None,
        pool=op.pool,
    )
    def task_op(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        def variables(used: Any) -> dict[str, Any]:
            return project_variables(
                context, used, resources=around.resources.params, parents=around.parents
            )

        resources = {kind: getattr(context.resources, key) for kind, key in keys.items()}
        try:
            made: Any = _fill_in(task, model, variables(names))
            value = made.run(_context_for(context, task, around, {**given, **resources}, variables))
            result = to_result(value, asset_key=entry.asset_key)
        except LoadsmithError as error:
            raise dg.Failure(description=f"{task.place}: {error}", allow_retries=False) from error
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata=dict(result.metadata),
            data_version=dg.DataVersion(result.data_version) if result.data_version else None,
            tags=dict(result.tags) or None,
        )

    return task_op


def _context_for(
    context: dg.AssetExecutionContext,
    task: Located[TaskAsset],
    around: TaskSurroundings,
    resources: Mapping[str, Any],
    variables: Callable[[Any], dict[str, Any]],
) -> TaskContext:
    partitions = read_partitions(context)
    window = partitions.window
    return TaskContext(
        dagster=context,
        asset_key=task.value.asset_key,
        project_folder=Path(around.files.base_path),
        partition_key=partitions.keys[0] if len(partitions.keys) == 1 else None,
        partition_keys=partitions.keys,
        window=(window.start, window.end) if window else None,
        resources=resources,
        render=lambda text: render(text, variables(names_in(text))),
    )


def _fill_in(
    task: Located[TaskAsset], model: type[BaseModel], variables: Mapping[str, Any]
) -> BaseModel:
    """Make the task with the values of this run.

    Raises:
        ConfigError: A value is not what the task takes.
    """
    values = render(task.value.params, variables)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(
            f"`{'.'.join(map(str, detail['loc'])) or 'params'}`: {detail['msg']}"
            for detail in error.errors(include_input=False, include_url=False)
        )
        raise ConfigError(
            f"the params are wrong once their variables have values: {wrong}. Change them."
        ) from error


def _unknown_fields(task: Located[TaskAsset], model: type[BaseModel]) -> list[Problem]:
    """Return the problems of unknown fields, which the task's model would ignore."""
    if model.model_config.get("extra") in ("forbid", "allow"):
        return []
    known = {*model.model_fields}
    known |= {field.alias for field in model.model_fields.values() if field.alias}
    return [
        task.problem(
            f"the task has no field '{name}'.{did_you_mean(name, known)}",
            "params",
            name,
            at_key=True,
        )
        for name in task.value.params
        if name not in known
    ]


def _implied_duckdb(around: TaskSurroundings) -> DuckDBDatabase | None:
    """Return the DuckDB of the loads before this task, if they share a single one.

    So a query over a load needs no resource.
    """
    databases = {
        str(entry.value.params.destination_params.get("database"))
        for entry in around.loads.values()
        if entry.value.params.destination == "duckdb"
    }
    if len(databases) != 1:
        return None
    database = databases.pop()
    if database == "None" or "{{" in database:
        return None
    return DuckDBDatabase(database_path=database, base_path=around.files.base_path)
