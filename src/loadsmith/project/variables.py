"""Collect the variables of a run in a project, including the metadata of parent assets."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from loadsmith.assets.define import read_partitions
from loadsmith.errors import ResolveError, did_you_mean
from loadsmith.project.partition_links import parent_partitions
from loadsmith.resolve import run_variables


@dataclass(frozen=True, kw_only=True)
class Parents:
    """The assets in `depends_on`.

    Attributes:
        keys: Asset keys by their name in variables, such as `github_api_pull_requests`.
        partitions: Partitions of the partitioned ones.
    """

    keys: Mapping[str, dg.AssetKey] = field(default_factory=dict)
    partitions: Mapping[dg.AssetKey, "dg.PartitionsDefinition[Any]"] = field(default_factory=dict)


def variable_name(key: str) -> str:
    """Return the name of the asset `key` in variables, which cannot contain `/`."""
    return key.replace("/", "_")


def project_variables(
    context: dg.AssetExecutionContext,
    names: Collection[str],
    *,
    resources: Mapping[str, Mapping[str, Any]],
    parents: Parents,
) -> dict[str, Any]:
    """Return the values of `names` in this run, by dotted name.

    Unknown names are left out; rendering reports them with the nearest known names.

    Args:
        context: The run of one asset, or of the assets of one load.
        names: The variables that are used.
        resources: Parameters of the project's resources, by kind.
        parents: The assets in `depends_on`.

    Raises:
        ResolveError: A parent is not materialized yet, or its metadata has no such name.
    """
    partitions = read_partitions(context)
    values = run_variables(
        names,
        run_id=context.run.run_id,
        partition_key=partitions.keys[0] if len(partitions.keys) == 1 else None,
        window=partitions.window,
        resources=resources,
    )
    metadata: dict[dg.AssetKey, Mapping[str, Any]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        key = parents.keys.get(first)
        if key is None or not rest:
            continue
        if key not in metadata:
            metadata[key] = _metadata_of(context, key, parents)
        values[name] = _value_of(metadata[key], rest, key.to_user_string())
    return values


def _value_of(metadata: Mapping[str, Any], name: str, key: str) -> Any:
    values = {**_by_short_names(metadata), **metadata}
    if name in values:
        return values[name]
    raise ResolveError(
        f"the metadata of '{key}' has no '{name}', which a variable asks for."
        + did_you_mean(name, values)
    )


def _by_short_names(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is in the metadata under a name that a variable cannot have."""
    short: dict[str, Any] = {}
    if load_ids := metadata.get("load_ids"):
        short["load_id"] = load_ids[-1]
    if "dagster/row_count" in metadata:
        short["row_count"] = metadata["dagster/row_count"]
    if "dagster/table_name" in metadata and "destination_file_uri" not in metadata:
        short["destination_table_id"] = metadata["dagster/table_name"]
    return short


def plain_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata of a materialization as plain values."""
    return {name: _plain(value) for name, value in metadata.items()}


def _metadata_of(
    context: dg.AssetExecutionContext, key: dg.AssetKey, parents: Parents
) -> Mapping[str, Any]:
    keys = _partitions_of_parent(context, key, parents)
    event = None
    if keys is None:
        latest = context.instance.get_latest_materialization_event(key)
        event = latest.asset_materialization if latest else None
    elif keys:
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=list(keys)), limit=1
        ).records
        event = records[0].asset_materialization if records else None
    if event is None:
        forgets = (
            " Runs before this one are not known: make the folder `.dagster_home` in the project, "
            "or set DAGSTER_HOME, so that Dagster keeps them."
        )
        raise ResolveError(
            f"the asset '{key.to_user_string()}'{_partitions_shown(keys)} was not materialized "
            "yet, and a variable asks for its metadata. Materialize it first, or both in one run."
            f"{forgets if context.instance.is_ephemeral else ''}"
        )
    return plain_metadata(event.metadata)


def _partitions_shown(keys: Sequence[str] | None) -> str:
    if keys is None:
        return ""
    if len(keys) < 2:
        return f" (partition {keys[0]})" if keys else " (no partition of it belongs to this run)"
    return f" (partitions {keys[0]} to {keys[-1]})"


def _partitions_of_parent(
    context: dg.AssetExecutionContext, key: dg.AssetKey, parents: Parents
) -> Sequence[str] | None:
    """Return the parent's partitions that belong to this run; None if no partitions matter."""
    own, parent = context.assets_def.partitions_def, parents.partitions.get(key)
    keys = read_partitions(context).keys
    if own is None or parent is None or not keys:
        return None
    with dg.partition_loading_context(dynamic_partitions_store=context.instance):
        return parent_partitions(own, keys, parent)


def _plain(value: Any) -> Any:
    inner = getattr(value, "value", value)
    return inner if not isinstance(inner, dg.MetadataValue) else str(inner)
