"""`@dlt_assets` makes Dagster assets of a dlt source and a pipeline."""

import inspect
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import dagster as dg

from loadsmith.assets.build import checked_options, multi_asset_options_of
from loadsmith.assets.define import (
    RESOURCE_KEY,
    AssetOptions,
    DagsterDltTranslator,
    DltPipelineLike,
    DltSourceLike,
    build_live_specs,
    known_options,
    live_definition,
    read_options,
)
from loadsmith.assets.run import CurrentLoad, current_load, mark_load
from loadsmith.assets.run_config import DltRunConfig
from loadsmith.engine.sources import ByPartition, takes_partition
from loadsmith.errors import ConfigError, did_you_mean
from loadsmith.model import AssetAttributes, LoadDefinition, note_defined
from loadsmith.names import op_name


def dlt_assets(
    *,
    dlt_source: DltSourceLike,
    dlt_pipeline: DltPipelineLike,
    name: str | None = None,
    group_name: str | None = None,
    dagster_dlt_translator: DagsterDltTranslator | None = None,
    partitions_def: "dg.PartitionsDefinition[Any] | None" = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    op_tags: Mapping[str, Any] | None = None,
    pool: str | None = None,
    nested_tables: bool = False,
    schema_file_path: str | None = None,
    checks: Mapping[str, Mapping[str, Any]] | Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    resource_settings: Mapping[str, Mapping[str, Any]] | None = None,
    on_error: str = "fail",
    on_empty: str | None = None,
    normalizer: str = "arrow",
    cursor_timezone: str | Mapping[str, str] | None = None,
    partitioned: bool | None = None,
    reload: str | None = None,
    guard: float | Mapping[str, float] | None = None,
    **multi_asset_options: Any,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make assets of the resources of a dlt source; the function runs them.

    The function takes a `DagsterDltResource` and ends in `yield from dlt.run(context=context)`. The
    launchpad offers the fields of `DltRunConfig`, unless the function has another run
    configuration.

    Args:
        dlt_source: A dlt source, or a function that makes one for each run. A function with an
            argument `partition_key` makes one for each partition, with credentials of its own; for
            a look at the resources it gets the first key.
        dlt_pipeline: A dlt pipeline, or a function that makes one, also of a `partition_key`.
        name: Name of the op; that of the function if None.
        group_name: Group of the assets. A translator must give none then, as in dagster-dlt.
        dagster_dlt_translator: Decides how a resource becomes an asset.
        partitions_def: Partitions of all assets. Time windows bound the incrementals of the
            source.
        backfill_policy: By default, a single run for all time windows, and a run for each other
            partition.
        op_tags: Tags of the op.
        pool: Concurrency pool of the op.
        nested_tables: Whether each nested table is an asset.
        schema_file_path: An exported dlt schema, which makes tables known before a run, including
            nested tables. With it, only runs call a function that makes the source.
        checks: Checks to answer in the run: `primary_key`, `row_count`, `schema_change`,
            `schema_contract`; by name, or with settings.
        settings: Dagster's settings of all assets, as in files: `owners`, `tags`, `kinds`,
            `deps`, `metadata`, `automation_condition` (a name, or a `dg.AutomationCondition`), ...
        resource_settings: The same by name of the dlt resource, over `settings`.
        on_error: `fail` with the first resource that fails, or `keep` what the others loaded.
        on_empty: If a resource yields no row: `truncate` a replaced table, as dlt does, `keep` its
            rows, `fail` before anything is loaded, or truncate and `warn`.
        normalizer: `arrow` normalizes plain records by column, with the same result as dlt's
            normalizer; `dlt` uses dlt's normalizer for all records.
        cursor_timezone: Time zone of cursor values that have none, where partitions are not in UTC:
            `partition`, `UTC`, the name of a zone, or one of these by resource.
        partitioned: Whether loading a partition again replaces its rows; found out if None.
        reload: `append`, `replace` or `window`: what loading a partition again does, where it is
            not what the write disposition says.
        guard: The share of the rows there that a reload or a `replace` has to bring, from 0 to 1:
            `{"at_least": 0.8}`, or the number alone.
        multi_asset_options: Any other argument of Dagster's `multi_asset`.

    Raises:
        TranslationError: The translator gave something unusable.
        ConfigError: A check or an option is wrong.
        DagsterInvariantViolationError: Both `group_name` and the translator give a group.
    """
    dlt_source, dlt_pipeline, is_by_partition = _by_partition(
        dlt_source, dlt_pipeline, partitions_def
    )
    if is_by_partition and backfill_policy is None:
        backfill_policy = dg.BackfillPolicy.multi_run(1)
    definition = live_definition(
        dlt_source,
        dlt_pipeline,
        nested_tables=nested_tables,
        schema_file_path=schema_file_path,
        options=checked_options(
            on_error=on_error,
            on_empty=on_empty,
            normalizer=normalizer,
            cursor_timezone=cursor_timezone,
            partitioned=partitioned,
            reload=reload,
            guard=guard,
        ),
        attributes=_attributes(settings, "settings", checks),
        resource_attributes={
            resource: _attributes(given, f"resource_settings['{resource}']")
            for resource, given in (resource_settings or {}).items()
        },
    )
    specs = build_live_specs(definition, dagster_dlt_translator)
    _check_names(resource_settings or {}, specs)
    if group_name:
        _refuse_group_of_translator(definition, specs)

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        op = name or function.__name__
        load = replace(definition, name=op_name(op), place=_place_of(function))
        note_defined(load)
        given = {
            "name": op,
            "group_name": group_name,
            "partitions_def": partitions_def,
            "backfill_policy": backfill_policy,
            "op_tags": op_tags,
            "pool": pool,
            **multi_asset_options,
        }
        ours = _takes_our_config(function)
        if ours is None and given.get("config_schema") is None:
            given["config_schema"] = DltRunConfig.to_fields_dict()
            ours = True
        options = multi_asset_options_of(load, specs, given)
        current = CurrentLoad(
            definition=load,
            config_is_ours=bool(ours),
            translator=dagster_dlt_translator,
        )
        with known_options(f"dlt_assets '{op}'", dlt_assets):
            multi_asset = dg.multi_asset(**options)
        return multi_asset(inside_load(current, function))

    return decorate


def _place_of(function: Callable[..., Any]) -> str | None:
    """Return `file:line` of a function, from the folder of the process; None for a callable."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{os.path.relpath(code.co_filename)}:{code.co_firstlineno}" if code else None


def _refuse_group_of_translator(definition: LoadDefinition, specs: Sequence[dg.AssetSpec]) -> None:
    """Refuse a group in two places, in the words of dagster-dlt; settings of ours may refine it."""
    settings = (definition.attributes, *definition.resource_attributes.values())
    own = {attributes.group_name for attributes in settings}
    if any(spec.group_name is not None and spec.group_name not in own for spec in specs):
        source = getattr(definition.source, "name", None) or definition.name
        raise dg.DagsterInvariantViolationError(
            f"Cannot set group_name parameter on dlt_assets with source {source} because one or"
            " more of the underlying dlt asset specs have a group_name defined."
        )


def _check_names(given: Mapping[str, Any], specs: Sequence[dg.AssetSpec]) -> None:
    known = list(dict.fromkeys(str(spec.metadata[RESOURCE_KEY]) for spec in specs))
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f" There is: {', '.join(known)}."
            raise ConfigError(
                f"dlt_assets, resource_settings: the source has no resource '{name}'.{hint}"
            )


def _by_partition(source: Any, pipeline: Any, partitions_def: Any) -> tuple[Any, Any, bool]:
    """Return a source and a pipeline, and whether a function of the partition makes one of them.

    Raises:
        ConfigError: There are no partitions.
    """
    are_functions = [takes_partition(source), takes_partition(pipeline)]
    if not any(are_functions):
        return source, pipeline, False
    if partitions_def is None:
        raise ConfigError(
            "dlt_assets: a function with the argument `partition_key` needs `partitions_def`."
            " Give it, or take the argument away."
        )
    first = None
    if not isinstance(partitions_def, dg.DynamicPartitionsDefinition):
        first = partitions_def.get_first_partition_key()
    made = [
        ByPartition(value, first) if is_function else value
        for value, is_function in zip((source, pipeline), are_functions, strict=True)
    ]
    return made[0], made[1], True


def _attributes(
    given: Any, place: str, checks: Mapping[str, Mapping[str, Any]] | Sequence[str] = ()
) -> AssetAttributes:
    attributes = read_options(AssetOptions, given, place=f"dlt_assets, {place}").to_attributes()
    if attributes.freshness_lower_bound_delta_seconds is not None:
        raise ConfigError(
            f"dlt_assets, {place}.freshness_lower_bound_delta_seconds: a freshness check is a "
            "definition of its own, beside the assets. Make it with "
            "loadsmith.assets.freshness.build_freshness_definitions(assets, seconds)."
        )
    asked = checks if isinstance(checks, Mapping) else {check: {} for check in checks}
    return replace(attributes, checks={**attributes.checks, **asked})


def build_dlt_asset_specs(
    dlt_source: DltSourceLike,
    dlt_pipeline: DltPipelineLike,
    dagster_dlt_translator: DagsterDltTranslator | None = None,
) -> Sequence[dg.AssetSpec]:
    """Build the specs that `dlt_assets` makes, for a hand-written `multi_asset`.

    The specs know their load, so that asset ends in `yield from dlt.run(context=context)`, too.

    Raises:
        TranslationError: The translator gave something unusable.
    """
    definition = live_definition(dlt_source, dlt_pipeline, nested_tables=False)
    note_defined(definition)
    return build_live_specs(definition, dagster_dlt_translator)


def inside_load(current: CurrentLoad, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function so that `DagsterDltResource.run` knows its load while it runs.

    Dagster may run other code between the steps of a generator. So the load is set for each step.
    """
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Any:
            events = function(*args, **kwargs)
            try:
                while True:
                    with current_load(current):
                        try:
                            event = next(events)
                        except StopIteration as stop:
                            return stop.value
                    yield event
            finally:
                events.close()

        mark_load(generate, current.definition)
        return generate

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with current_load(current):
            return function(*args, **kwargs)

    mark_load(call, current.definition)
    return call


def _takes_our_config(function: Callable[..., Any]) -> bool | None:
    """Tell whether the `config` of a function is a `DltRunConfig`; None if it takes no `config`."""
    if "config" not in inspect.signature(function).parameters:
        return None
    kind = typing.get_type_hints(function).get("config")
    return isinstance(kind, type) and issubclass(kind, DltRunConfig)
