"""Merge loads that one op can run together."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loadsmith.model import (
    AssetAttributes,
    LoadDefinition,
    PartitionSettings,
    PipelineSettings,
    ResourceSelection,
    SourceReference,
)
from loadsmith.names import identifier, unique_names


@dataclass(frozen=True, kw_only=True)
class GroupedLoad:
    """A load that is merged from several definitions.

    Attributes:
        definition: The load with the resources of all members.
        members: The merged definitions in their order; a single one if nothing was merged.
    """

    definition: LoadDefinition
    members: tuple[LoadDefinition, ...]


def merge_definitions(definitions: Iterable[LoadDefinition]) -> tuple[GroupedLoad, ...]:
    """Merge the definitions that differ only in their resources and asset settings.

    A definition with patterns of resources stays alone, and so does one with a resource that its
    group already has. Names become unique. `owns_pipeline_name` becomes False for loads that share
    the name of a pipeline.
    """
    groups: dict[Hashable, list[list[LoadDefinition]]] = {}
    order: list[list[LoadDefinition]] = []
    taken: dict[tuple[Hashable, str], int] = {}
    for definition in definitions:
        key: Hashable = _group_key(definition)
        members = groups.setdefault(key, [])
        # The first group of this key without these resources.
        at = max((taken.get((key, name), 0) for name in definition.resources.include), default=0)
        if at == len(members):
            members.append([])
            order.append(members[at])
        members[at].append(definition)
        for name in definition.resources.include:
            taken[key, name] = at + 1
    merged = _with_shares([_merge(group) for group in order])
    names = unique_names([definition.name for definition in merged])
    return tuple(
        GroupedLoad(definition=replace(definition, name=name), members=tuple(group))
        for definition, name, group in zip(merged, names, order, strict=True)
    )


def _group_key(definition: LoadDefinition) -> Hashable:
    """Return the settings that definitions must have in common to be merged."""
    source, pipeline = definition.source, definition.pipeline
    if (
        not isinstance(source, SourceReference)
        or not isinstance(pipeline, PipelineSettings)
        or not definition.resources.is_plain
    ):
        return id(definition)
    return (
        _frozen(vars(source)),
        _frozen(vars(pipeline)),
        _frozen(vars(definition.destination)) if definition.destination else None,
        _frozen(vars(definition.options)),
        _frozen(vars(definition.op)),
        tuple((name, _frozen(vars(op))) for name, op in sorted(definition.resource_ops.items())),
        _frozen(vars(definition.partitions)) if definition.partitions else None,
        definition.schema_file_path,
        definition.snapshot_path,
        definition.nested_tables,
    )


def _frozen(value: Any) -> Hashable:
    """Return a hashable equivalent of `value`, in which 1, 1.0 and True differ."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return tuple(sorted((str(key), _frozen(child)) for key, child in value.items()))
    if isinstance(value, (list, tuple)):
        return (list, *map(_frozen, value))
    if isinstance(value, PartitionSettings):
        return _frozen(vars(value))
    return type(value), repr(value)


def _merge(group: Sequence[LoadDefinition]) -> LoadDefinition:
    first = group[0]
    if len(group) == 1:
        return first
    attributes = {
        resource: member.attributes_of(resource)
        for member in group
        for resource in member.resources.include
    }
    pipeline = first.pipeline
    name = pipeline.pipeline_name if isinstance(pipeline, PipelineSettings) else first.name
    return replace(
        first,
        name=identifier(name),
        resources=ResourceSelection(include=tuple(attributes)),
        attributes=AssetAttributes(),
        resource_attributes=attributes,
    )


def _with_shares(definitions: Sequence[LoadDefinition]) -> list[LoadDefinition]:
    uses: dict[str, int] = {}
    for definition in definitions:
        if isinstance(definition.pipeline, PipelineSettings):
            name = definition.pipeline.pipeline_name
            uses[name] = uses.get(name, 0) + 1
    return [
        replace(definition, owns_pipeline_name=uses[definition.pipeline.pipeline_name] == 1)
        if isinstance(definition.pipeline, PipelineSettings)
        else definition
        for definition in definitions
    ]
