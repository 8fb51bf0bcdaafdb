"""Build the specs of the assets of a load. Each names its table in its metadata."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import dagster as dg

from loadsmith.assets.define.keys import nested_key, root_table_key
from loadsmith.assets.define.spec_metadata import (
    LOAD_KEY,
    RESOURCE_KEY,
    TABLE_KEY,
    LoadName,
    spec_metadata,
)
from loadsmith.assets.define.translator import (
    DagsterDltTranslator,
    DestinationView,
    DltResourceTranslatorData,
    PipelineView,
)
from loadsmith.errors import TranslationError
from loadsmith.model import LoadDefinition, LoadSnapshot, ResourceSnapshot, TableSnapshot

KeyFor: TypeAlias = Callable[[ResourceSnapshot, "TableSnapshot | None"], dg.AssetKey]
DepsFor: TypeAlias = Callable[[ResourceSnapshot], Iterable[dg.AssetKey]]


@dataclass(frozen=True)
class AssetTarget:
    """What an asset stands for: a table, or a whole resource if the table is None."""

    resource: str
    table: str | None


def build_specs(
    snapshot: LoadSnapshot,
    translator: DagsterDltTranslator,
    definition: LoadDefinition,
    *,
    key_for: KeyFor | None = None,
    deps_for: DepsFor | None = None,
    live: Mapping[str, Any] | None = None,
    pipeline: Any = None,
) -> list[dg.AssetSpec]:
    """Build the specs of all assets of a load, each resource before the resources that it feeds.

    Args:
        snapshot: What is known of the load.
        translator: Decides how a resource becomes an asset.
        definition: The load.
        key_for: Returns the key of a resource's asset, instead of the translator.
        deps_for: Returns the upstream keys of a resource, instead of the translator.
        live: Live dlt resources by name, for translators that use them.
        pipeline: The live dlt pipeline, if there is one.

    Raises:
        TranslationError: Two assets have the same key, or the translator returned no spec.
    """
    if pipeline is None:
        pipeline = PipelineView(
            pipeline_name=snapshot.pipeline_name,
            dataset_name=snapshot.dataset_name,
            destination=(
                DestinationView(snapshot.destination_name) if snapshot.destination_name else None
            ),
        )
    resources = {
        resource.name: resource
        for resource in snapshot.resources
        if definition.resources.matches(resource.name)
        and (resource.selected or definition.resources.is_plain)
    }
    # A translator that builds the whole spec decides the key; it could start from `default_key`.
    spec_is_own = type(translator).get_asset_spec is not DagsterDltTranslator.get_asset_spec
    name = LoadName.of(definition, snapshot, translator)
    specs: dict[dg.AssetKey, dg.AssetSpec] = {}
    roots: dict[str, dg.AssetKey] = {}
    for resource in _parents_first(resources):
        data = DltResourceTranslatorData(
            resource=(live or {}).get(resource.name) or _as_seen(resource),
            pipeline=pipeline,
            attributes=definition.attributes_of(resource.name),
            definition=definition,
            snapshot=resource,
            parent_key=roots.get(resource.upstream) if resource.upstream else None,
            default_key=key_for(resource, _only_root(resource)) if key_for else None,
            default_deps=tuple(deps_for(resource)) if deps_for else None,
        )
        spec = translator.get_asset_spec(data)
        if not isinstance(spec, dg.AssetSpec):
            raise TranslationError(
                f"{type(translator).__name__}, resource '{resource.name}': get_asset_spec gave "
                f"{spec!r}. Return a dg.AssetSpec."
            )
        for table_spec in _table_specs(
            resource, spec, snapshot, definition, name, None if spec_is_own else key_for
        ):
            if table_spec.key in specs:
                raise TranslationError(
                    f"load '{definition.name}', resource '{resource.name}': the key "
                    f"'{table_spec.key.to_user_string()}' is taken by resource "
                    f"'{specs[table_spec.key].metadata[RESOURCE_KEY]}'. Give each a key of its own."
                )
            specs[table_spec.key] = table_spec
            roots.setdefault(resource.name, table_spec.key)
    own_deps = type(translator).get_deps_asset_keys is not DagsterDltTranslator.get_deps_asset_keys
    if not spec_is_own and not own_deps:
        _add_seen_parents(specs, resources, roots)
    return list(specs.values())


def targets_of(
    metadata_by_key: Mapping[dg.AssetKey, Mapping[str, Any]],
) -> dict[dg.AssetKey, AssetTarget]:
    """Read from the metadata of assets what each stands for; their keys may have changed."""
    return {
        key: AssetTarget(str(metadata[RESOURCE_KEY]), metadata.get(TABLE_KEY))
        for key, metadata in metadata_by_key.items()
        if RESOURCE_KEY in metadata
    }


def _table_specs(
    resource: ResourceSnapshot,
    spec: dg.AssetSpec,
    snapshot: LoadSnapshot,
    definition: LoadDefinition,
    name: LoadName,
    key_for: KeyFor | None,
) -> Iterable[dg.AssetSpec]:
    """Yield the spec of each table of a resource, or a single spec for the whole resource."""
    named: dict[str, Any] = {
        "load": name,
        "dataset_name": snapshot.dataset_name,
        "destination_name": snapshot.destination_name,
    }
    roots = resource.root_tables
    by_parent: dict[str, list[TableSnapshot]] = {}
    for table in resource.tables:
        if table.parent is not None:
            by_parent.setdefault(table.parent, []).append(table)
    if not roots or (len(roots) > 1 and not definition.nested_tables):
        key = key_for(resource, None) if key_for else spec.key
        metadata = {
            **spec_metadata(resource.name, None, **named),
            **_seen_metadata(resource, snapshot.dataset_name),
        }
        if resource.table_name and not roots:
            metadata.setdefault(
                "dagster/table_name",
                ".".join(part for part in (snapshot.dataset_name, resource.table_name) if part),
            )
        yield _with(spec, key, metadata)
        return
    for root in roots:
        nested = _nested_in(root, by_parent)
        if key_for:
            key = key_for(resource, root)
        elif len(roots) == 1 or root.name in (resource.table_name, resource.name):
            key = spec.key
        else:
            key = root_table_key(spec.key, resource.name, root.name)
        shown = () if definition.nested_tables else nested
        yield _with(spec, key, spec_metadata(resource.name, root, nested=shown, **named))
        if definition.nested_tables:
            keys = {root.name: key}
            for table in nested:
                keys[table.name] = nested_key(key, root.name, table.name)
                yield _with(
                    spec.replace_attributes(deps=[keys[str(table.parent)]]),
                    keys[table.name],
                    spec_metadata(resource.name, table, **named),
                    table.description or _nested_description(table),
                )


def _as_seen(resource: ResourceSnapshot) -> ResourceSnapshot:
    """Return a resource with what a run saw of it, if the definition does not have it."""
    seen = resource.seen
    if seen is None:
        return resource
    return replace(
        resource,
        description=resource.description or seen.description,
        write_disposition=resource.write_disposition or seen.write_disposition,
        primary_key=resource.primary_key or seen.primary_key,
        incremental=resource.incremental or seen.incremental,
    )


def _add_seen_parents(
    specs: dict[dg.AssetKey, dg.AssetSpec],
    resources: Mapping[str, ResourceSnapshot],
    roots: Mapping[str, dg.AssetKey],
) -> None:
    """Make the asset that feeds a transformer its upstream, if only a run saw which asset that is.

    This is the last step, so that the order of the specs, and with it the ops of a large load, do
    not change.
    """
    nested = {
        (resource.name, table.name)
        for resource in resources.values()
        for table in resource.tables
        if table.parent is not None
    }
    for key, spec in specs.items():
        resource = resources[str(spec.metadata[RESOURCE_KEY])]
        if (resource.name, spec.metadata.get(TABLE_KEY)) in nested:
            continue
        feeds = resource.seen.upstream if resource.seen and resource.upstream is None else None
        parent = roots.get(feeds) if feeds else None
        if parent is not None and parent != key:
            specs[key] = spec.replace_attributes(deps=[*spec.deps, parent])


def _seen_metadata(resource: ResourceSnapshot, dataset_name: str | None) -> dict[str, Any]:
    """Return the metadata of the root table and its nested tables, if a run saw a single root."""
    tables = resource.seen.tables if resource.seen else ()
    roots = [table for table in tables if table.parent is None]
    if len(roots) != 1:
        return {}
    nested = [table for table in tables if table.parent is not None]
    metadata = spec_metadata(resource.name, roots[0], nested=nested, dataset_name=dataset_name)
    # The asset still stands for all that the resource will load.
    metadata.pop(TABLE_KEY)
    return metadata


def _only_root(resource: ResourceSnapshot) -> TableSnapshot | None:
    roots = resource.root_tables
    return roots[0] if len(roots) == 1 else None


def _nested_description(table: TableSnapshot) -> str:
    parent = str(table.parent)
    name = table.name.removeprefix(f"{parent}__")
    return f"The lists `{name}` in the rows of `{parent}`: a row for each item."


def _with(
    spec: dg.AssetSpec,
    key: dg.AssetKey,
    metadata: Mapping[str, Any],
    description: str | None = None,
) -> dg.AssetSpec:
    """Return the spec of a table. Metadata of the translator wins, except for the table's names."""
    merged = {**metadata, **spec.metadata}
    for name in (RESOURCE_KEY, TABLE_KEY, LOAD_KEY):
        merged.pop(name, None)
        if name in metadata:
            merged[name] = metadata[name]
    return spec.replace_attributes(
        key=key, metadata=merged, description=description or spec.description
    )


def _nested_in(
    root: TableSnapshot, by_parent: Mapping[str, Sequence[TableSnapshot]]
) -> list[TableSnapshot]:
    tables = list(by_parent.get(root.name, ()))
    for table in tables:
        tables.extend(by_parent.get(table.name, ()))
    return tables


def _parents_first(resources: Mapping[str, ResourceSnapshot]) -> list[ResourceSnapshot]:
    ordered: dict[str, ResourceSnapshot] = {}

    def add(resource: ResourceSnapshot) -> None:
        parent = resources.get(resource.upstream) if resource.upstream else None
        if parent is not None and parent.name not in ordered and parent is not resource:
            add(parent)
        ordered[resource.name] = resource

    for resource in resources.values():
        if resource.name not in ordered:
            add(resource)
    return list(ordered.values())
