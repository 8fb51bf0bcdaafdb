"""Build the assets, checks and sensors of loads. A large load becomes several ops."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import dagster as dg

from loadsmith.assets.define import (
    OUTPUTS_PER_OP,
    DagsterDltTranslator,
    DepsFor,
    KeyFor,
    build_backfill_policy,
    build_check_specs,
    build_partitions_def,
    build_specs,
    build_upstream_specs,
    loads_in,
    split_load,
)
from loadsmith.assets.freshness import build_freshness
from loadsmith.assets.run import mark_load, run_load_in_context
from loadsmith.assets.run_config import DltRunConfig
from loadsmith.engine.snapshots import inspect_load
from loadsmith.errors import ConfigError, ResolveError, one_of
from loadsmith.model import (
    NORMALIZERS,
    ON_EMPTY,
    ON_ERROR,
    LoadDefinition,
    LoadSnapshot,
    OpSettings,
    RunArguments,
    RunOptions,
    merged_tags,
)
from loadsmith.names import load_op_name, op_name, unique_name

VariablesFor: TypeAlias = Callable[[dg.AssetExecutionContext], Mapping[str, Any]]


def build_assets(
    definition: LoadDefinition,
    *,
    snapshot: LoadSnapshot | None = None,
    translator: DagsterDltTranslator | None = None,
    key_for: KeyFor | None = None,
    deps_for: DepsFor | None = None,
    variables_for: VariablesFor | None = None,
    specs: Sequence[dg.AssetSpec] | None = None,
    **multi_asset_options: Any,
) -> dg.AssetsDefinition:
    """Build the assets of a load as a single op that can be subset.

    Args:
        definition: The load.
        snapshot: What is known of the load; it is inspected if None.
        translator: Decides how a resource becomes an asset.
        key_for: Returns the key of a resource's asset, or of its root table's if that is known.
        deps_for: Returns the upstream keys of a resource.
        variables_for: Returns `{{variables}}` for a run in addition to those of the context.
        specs: The specs from `build_specs`, if the caller has them.
        multi_asset_options: Any argument of Dagster's `multi_asset`.

    Raises:
        ResolveError: No resource matches the definition.
        ConfigError: A setting is wrong.
        TranslationError: The translator gave something unusable.
    """
    if specs is None:
        snapshot = snapshot or inspect_load(definition)
        specs = build_specs(
            snapshot,
            translator or DagsterDltTranslator(),
            definition,
            key_for=key_for,
            deps_for=deps_for,
        )
    options = multi_asset_options_of(definition, specs, multi_asset_options)

    def load(context: dg.AssetExecutionContext, config: DltRunConfig) -> Iterable[Any]:
        variables = variables_for(context) if variables_for else {}
        yield from run_load_in_context(
            context, definition, config_is_ours=True, variables=variables
        )

    mark_load(load, definition)
    return dg.multi_asset(**options)(load)


def build_load_definitions(
    definitions: Sequence[LoadDefinition],
    *,
    snapshots: Mapping[str, LoadSnapshot] | None = None,
    translator: DagsterDltTranslator | None = None,
    key_for: KeyFor | None = None,
    deps_for: DepsFor | None = None,
    variables_for: VariablesFor | None = None,
    with_upstreams: bool = True,
    outputs_per_op: int = OUTPUTS_PER_OP,
    **multi_asset_options: Any,
) -> dg.Definitions:
    """Build the assets, checks and sensors of loads; a large load becomes several ops.

    Args:
        definitions: The loads. Names need not be valid or unique: op names are made so.
        snapshots: What is known of the loads by name; a missing load is inspected.
        translator: Decides how a resource becomes an asset.
        key_for: Returns the key of a resource's asset.
        deps_for: Returns the upstream keys of a resource.
        variables_for: Returns the values of `{{variables}}` for a run.
        with_upstreams: Whether upstream assets that no load builds become external assets.
        outputs_per_op: Most assets of an op, unless a single resource has more.
        multi_asset_options: Any argument of Dagster's `multi_asset`, for every op.

    Raises:
        ResolveError: No resource matches a definition.
        ConfigError: A setting is wrong.
        TranslationError: The translator gave something unusable.
    """
    assets: list[dg.AssetsDefinition] = []
    checks: list[dg.AssetChecksDefinition] = []
    sensors: list[dg.SensorDefinition] = []
    all_specs: list[dg.AssetSpec] = []
    for definition in with_unique_names(definitions):
        original = definition.name
        snapshot = (snapshots or {}).get(original) or inspect_load(definition)
        specs = build_specs(
            snapshot,
            translator or DagsterDltTranslator(),
            definition,
            key_for=key_for,
            deps_for=deps_for,
        )
        all_specs.extend(specs)
        for part, part_specs in split_load(definition, specs, snapshot, outputs_per_op):
            assets.append(
                build_assets(
                    part, specs=part_specs, variables_for=variables_for, **multi_asset_options
                )
            )
        load_checks, load_sensors = build_freshness(definition, specs)
        checks.extend(load_checks)
        sensors.extend(load_sensors)
    upstreams = build_upstream_specs(all_specs) if with_upstreams else []
    return dg.Definitions(assets=[*assets, *upstreams], asset_checks=checks, sensors=sensors)


def multi_asset_options_of(
    definition: LoadDefinition, specs: Sequence[dg.AssetSpec], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of `multi_asset` for a load. Given arguments win over the definition.

    Options that do not concern the specs are passed on, so that options of later versions of
    Dagster work.

    Raises:
        ResolveError: There are no specs.
        ConfigError: An option is given that the load itself decides.
    """
    if not specs:
        raise ResolveError(
            f"{definition.place or definition.name}: the load has no resource. Check the names in "
            "'resources' against those of the source."
        )
    options = dict(given)
    for taken in ("specs", "outs"):
        if options.get(taken) is not None:
            raise ConfigError(
                f"{definition.place or definition.name}: '{taken}' comes from the load. Change the "
                "specs with a translator, or with map_asset_specs afterwards."
            )
        options.pop(taken, None)
    more = [*(options.pop("deps", None) or ()), *_deps_of_ins(options.get("ins") or {})]
    specs = _with_group_and_deps(specs, options.pop("group_name", None), more)
    if options.get("partitions_def") is None and definition.partitions is not None:
        options["partitions_def"] = build_partitions_def(
            definition.partitions, where=definition.place or f"load '{definition.name}'"
        )
    if options.get("backfill_policy") is None:
        options["backfill_policy"] = build_backfill_policy(
            options.get("partitions_def"),
            definition.op.max_partitions_per_run,
            may_have_cursor=any(
                load.may_have_cursor for load in loads_in(spec.metadata for spec in specs)
            ),
        )
    if options.get("retry_policy") is None:
        options["retry_policy"] = build_retry_policy(definition.op)
    options["name"] = options.get("name") or load_op_name(definition.name)
    options["op_tags"] = merged_tags(definition.op.op_tags, options.get("op_tags") or {})
    options["pool"] = options.get("pool") or definition.op.pool
    options["can_subset"] = options.get("can_subset", True)
    own_checks = build_check_specs(definition, specs)
    options["check_specs"] = [*own_checks, *(options.get("check_specs") or ())]
    options["specs"] = specs
    return options


def with_unique_names(definitions: Iterable[LoadDefinition]) -> list[LoadDefinition]:
    """Return the definitions with names that are valid as op names, and unique."""
    taken: set[str] = set()
    found = []
    for definition in definitions:
        name = unique_name(op_name(definition.name), taken)
        taken.add(name)
        found.append(definition if name == definition.name else replace(definition, name=name))
    return found


def checked_options(
    params: Mapping[str, Any] | None = None,
    *,
    on_error: str,
    on_empty: str | None,
    normalizer: str,
    cursor_timezone: str | Mapping[str, str] | None,
    partitioned: bool | None = None,
    reload: str | None = None,
    guard: float | Mapping[str, float] | None = None,
) -> RunOptions:
    """Return the run options from the arguments of a front door.

    Raises:
        ConfigError: An option has none of its possible values, or `run` has no such argument.
    """
    return RunOptions(
        params=RunArguments.of(params or {}, "run_params"),
        on_error=one_of(ON_ERROR, on_error, "on_error"),
        on_empty=one_of(ON_EMPTY, on_empty or "truncate", "on_empty"),
        on_empty_is_said=on_empty is not None,
        partitioned=partitioned,
        reload=reload,
        guard=guard,
        normalizer=one_of(NORMALIZERS, normalizer, "normalizer"),
        cursor_timezone=cursor_timezone,
    )


def build_retry_policy(op: OpSettings) -> dg.RetryPolicy | None:
    """Build Dagster's retry policy, or None for a load without retries.

    Raises:
        ConfigError: The backoff or the jitter is unknown.
    """
    if op.max_retries <= 0:
        return None
    return dg.RetryPolicy(
        max_retries=op.max_retries,
        delay=op.retry_delay_seconds,
        backoff=_member(dg.Backoff, op.retry_backoff, "retry_backoff"),
        jitter=_member(dg.Jitter, op.retry_jitter, "retry_jitter"),
    )


def _member(kind: Any, name: str | None, where: str) -> Any:
    if name is None:
        return None
    if name.upper() not in kind.__members__:
        known = ", ".join(member.lower() for member in kind.__members__)
        raise ConfigError(f"{where}: '{name}' is not one of {known}. Take one of these.")
    return kind[name.upper()]


def _deps_of_ins(ins: Mapping[str, dg.AssetIn]) -> list[dg.AssetKey]:
    """Return the keys of inputs; Dagster needs each to be upstream of an asset of the op."""
    return [
        asset_in.key or dg.AssetKey([*(asset_in.key_prefix or ()), name])
        for name, asset_in in ins.items()
    ]


def _with_group_and_deps(
    specs: Sequence[dg.AssetSpec], group_name: str | None, deps: Sequence[Any]
) -> list[dg.AssetSpec]:
    """Add upstream assets to the specs, and a group to those without a group."""
    if not group_name and not deps:
        return list(specs)
    return [
        spec.replace_attributes(
            group_name=spec.group_name or group_name or None, deps=[*spec.deps, *deps]
        )
        for spec in specs
    ]
