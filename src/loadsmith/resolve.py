"""Configuration in, load definitions out. Nothing is imported, opened or asked."""

import os
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from loadsmith.config.files import Located, ProjectFiles
from loadsmith.config.models import AssetSettings, DltAsset, LoadParams, ResourceSettings
from loadsmith.config.profiles import ProfileChoice, choose_profile
from loadsmith.config.templates import render
from loadsmith.engine.destinations import name_problem
from loadsmith.errors import ConfigError, ResolveError
from loadsmith.model import (
    AssetAttributes,
    DestinationReference,
    LoadDefinition,
    OpSettings,
    PartitionSettings,
    PipelineSettings,
    ResourceSelection,
    RunOptions,
    SourceReference,
)

_OWN_FILES = re.compile(r"^(dlt\.sources\.)?filesystem(\.|$)")
"""dlt's source whose `bucket_url` may be a relative path."""

_DATASET_PARAMS = ("dataset", "dataset_name")
"""Settings of a destination that name a dataset."""


@dataclass(frozen=True, kw_only=True)
class GroupedLoad:
    """Definitions that one op loads together.

    Attributes:
        definition: The load that takes the resources of all of them.
        members: What it was merged from, in their order; itself where there is nothing to merge.
    """

    definition: LoadDefinition
    members: tuple[LoadDefinition, ...]


def resolve_load(
    params: LoadParams,
    *,
    name: str,
    settings: AssetSettings | None = None,
    resource_settings: Mapping[str, ResourceSettings] | None = None,
    base_path: str,
    project_dir: str | None = None,
    partitions: PartitionSettings | None = None,
    default_pipeline_name: str,
    default_dataset_name: str | None = None,
    default_resources: Sequence[str] = ("*",),
    pipelines_dir: str | None = None,
    snapshot_path: str | None = None,
    nested_tables: bool = True,
    environment: Mapping[str, str] | None = None,
    place: str | None = None,
) -> LoadDefinition:
    """Turn what a file says of a load into its definition.

    Args:
        params: The load as it is written.
        name: Name of the load; characters that a name cannot have become `_`.
        settings: Dagster settings of the load.
        resource_settings: Dagster settings by resource.
        base_path: Folder that relative paths of the destination start from.
        project_dir: Folder that `source_module` and `schema_file_path` are looked up in;
            Python's own path and `base_path` where None.
        partitions: The partitions of the load.
        default_pipeline_name: Name of the pipeline where `params` has none.
        default_dataset_name: Dataset where `params` has none; else `<pipeline_name>_dataset`.
        default_resources: Resources to load where `params` names none.
        pipelines_dir: Folder of the working directories where `params` has none.
        snapshot_path: File of the stored snapshot.
        nested_tables: Whether nested tables are assets.
        environment: Environment variables that choose the profile; those of the process if
            left out.
        place: Where the load is written, for errors.

    Raises:
        ConfigError: No profile fits, there is no destination without one, or the destination
            cannot hold the dataset.
    """
    params, choice = _with_profile(
        params, os.environ if environment is None else environment, place
    )
    if params.destination is None:
        raise _error(place, "there is no `destination` in this profile. Add one to the load.")
    code_path = project_dir or base_path
    destination_params = dict(params.destination_params)
    for key in _DATASET_PARAMS:
        if isinstance(destination_params.get(key), str):
            destination_params[key] += choice.suffix
    destination = DestinationReference(
        name=params.destination,
        params=destination_params,
        base_path=base_path,
        search_path=_absolute(project_dir, base_path),
    )
    pipeline = _pipeline(
        params,
        choice,
        code_path=code_path,
        base_path=base_path,
        pipelines_dir=pipelines_dir,
        default_pipeline_name=default_pipeline_name,
        default_dataset_name=default_dataset_name,
    )
    clash = name_problem(destination, pipeline.dataset_name)
    if clash:
        raise _error(place, clash)
    return LoadDefinition(
        name=re.sub(r"\W+", "_", name, flags=re.ASCII),
        source=SourceReference(
            module=params.source_module,
            params=_source_params(params, base_path),
            search_path=_absolute(project_dir, base_path),
            secrets_files=_secrets_files(params.source_module, code_path),
        ),
        destination=destination,
        pipeline=pipeline,
        resources=ResourceSelection(
            include=tuple(params.resources if params.resources is not None else default_resources),
            exclude=tuple(params.exclude),
        ),
        schema_file_path=_absolute(params.schema_file_path, code_path),
        snapshot_path=snapshot_path,
        options=RunOptions(
            params=params.run_params.model_dump(exclude_none=True),
            limit=params.limit,
            on_error=params.on_error,
            normalizer=params.normalizer,
        ),
        attributes=settings.to_attributes() if settings else AssetAttributes(),
        resource_attributes={
            resource: own.to_attributes() for resource, own in (resource_settings or {}).items()
        },
        op=settings.to_op_settings() if settings else OpSettings(),
        partitions=partitions,
        nested_tables=nested_tables,
        place=place,
    )


def resolve_asset(
    asset: Located[DltAsset], files: ProjectFiles, *, environment: Mapping[str, str] | None = None
) -> LoadDefinition:
    """Turn a dlt asset of a project into the definition of its load.

    The last part of the asset key is the resource, unless `params.resources` says otherwise; the
    parts before it give the pipeline's name, unless `params.pipeline_params` does.
    """
    entry = asset.value
    prefix, _, resource = entry.asset_key.rpartition("/")
    partitions = files.partitions_of(entry.asset_key)
    definition = resolve_load(
        entry.params,
        name=entry.asset_key,
        settings=entry,
        resource_settings=entry.resource_settings,
        base_path=files.base_path,
        project_dir=files.project_dir,
        partitions=partitions.value.params.to_settings() if partitions else None,
        default_pipeline_name=prefix.replace("/", "_"),
        default_resources=(resource,),
        pipelines_dir=_absolute(
            files.dlt_resource.pipelines_dir if files.dlt_resource else None, files.base_path
        ),
        environment=environment,
        place=asset.place,
    )
    deps = tuple(dict.fromkeys((*entry.depends_on, *entry.deps)))
    return replace(definition, attributes=replace(definition.attributes, deps=deps))


def merge_definitions(definitions: Iterable[LoadDefinition]) -> tuple[GroupedLoad, ...]:
    """Put the definitions together that differ only in their resources and asset settings.

    A definition that names its resources by pattern stays alone, and so does one with a resource
    that its group has already. Names become unique, and `owns_pipeline_name` tells whether a
    load shares the name of its pipeline with others.
    """
    groups: dict[Hashable, list[list[LoadDefinition]]] = {}
    order: list[list[LoadDefinition]] = []
    taken: dict[tuple[Hashable, str], int] = {}
    for definition in definitions:
        key: Hashable = _group_key(definition)
        members = groups.setdefault(key, [])
        # The first group of this key that has none of these resources.
        at = max((taken.get((key, name), 0) for name in definition.resources.include), default=0)
        if at == len(members):
            members.append([])
            order.append(members[at])
        members[at].append(definition)
        for name in definition.resources.include:
            taken[key, name] = at + 1
    merged = [_merge(group) for group in order]
    return tuple(
        GroupedLoad(definition=definition, members=tuple(group))
        for definition, group in zip(_named_apart(_with_shares(merged)), order, strict=True)
    )


def render_definition(definition: LoadDefinition, variables: Mapping[str, Any]) -> LoadDefinition:
    """Return the definition with the `{{variables}}` of a run filled in.

    What comes back may hold secrets (`{{env.TOKEN}}`): keep it for the run only.

    Raises:
        ResolveError: A variable is unknown in this run.
    """
    try:
        return _rendered(definition, variables)
    except ResolveError as error:
        if not definition.place:
            raise
        raise ResolveError(f"{definition.place}: {error}") from error


def _rendered(definition: LoadDefinition, variables: Mapping[str, Any]) -> LoadDefinition:
    source, pipeline, destination = definition.source, definition.pipeline, definition.destination
    if isinstance(source, SourceReference):
        source = replace(source, params=render(source.params, variables))
    if isinstance(pipeline, PipelineSettings):
        pipeline = PipelineSettings(
            pipeline_name=str(render(pipeline.pipeline_name, variables)),
            dataset_name=_rendered_text(pipeline.dataset_name, variables),
            pipelines_dir=_rendered_text(pipeline.pipelines_dir, variables),
            params=render(pipeline.params, variables),
        )
    if destination is not None:
        destination = replace(
            destination,
            name=str(render(destination.name, variables)),
            params=render(destination.params, variables),
        )
    options = replace(definition.options, params=render(definition.options.params, variables))
    return replace(
        definition, source=source, pipeline=pipeline, destination=destination, options=options
    )


def _rendered_text(text: str | None, variables: Mapping[str, Any]) -> str | None:
    return None if text is None else str(render(text, variables))


def _error(place: str | None, message: str) -> ConfigError:
    return ConfigError(f"{place}: {message}" if place else message)


def _with_profile(
    params: LoadParams, environment: Mapping[str, str], place: str | None
) -> tuple[LoadParams, ProfileChoice]:
    try:
        choice = choose_profile(params.profiles, environment)
    except ConfigError as error:
        raise _error(place, str(error)) from error
    if choice.name is None:
        return params, choice
    own = params.profiles[choice.name].model_dump(exclude_unset=True, exclude_none=True)
    written = params.model_dump(exclude_unset=True, exclude={"profiles"})
    if own.get("destination", params.destination) != params.destination:
        # The settings of one destination mean nothing to another.
        written.pop("destination_params", None)
    return LoadParams.model_validate(_deep_merge(written, own)), choice


def _deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _deep_merge(before, value)
        else:
            merged[key] = value
    return merged


def _pipeline(
    params: LoadParams,
    choice: ProfileChoice,
    *,
    code_path: str,
    base_path: str,
    pipelines_dir: str | None,
    default_pipeline_name: str,
    default_dataset_name: str | None,
) -> PipelineSettings:
    given = params.pipeline_params.model_dump(exclude_none=True)
    pipeline_name = given.pop("pipeline_name", default_pipeline_name)
    dataset_name = given.pop("dataset_name", None)
    if dataset_name is None:
        # The page of the YAML door has BigQuery's dataset among the destination's settings.
        named = [params.destination_params.get(key) for key in _DATASET_PARAMS]
        default = default_dataset_name or f"{pipeline_name}_dataset"
        dataset_name = next((name for name in named if isinstance(name, str)), default)
    directory = _absolute(given.pop("pipelines_dir", None), base_path) or pipelines_dir
    for key in ("import_schema_path", "export_schema_path"):
        if key in given:
            given[key] = _absolute(given[key], code_path)
    return PipelineSettings(
        # The name of the pipeline is the name of its cursors: a branch has its own.
        pipeline_name=f"{pipeline_name}{choice.suffix}",
        dataset_name=f"{dataset_name}{choice.suffix}",
        pipelines_dir=directory,
        params=given,
    )


def _source_params(params: LoadParams, base_path: str) -> dict[str, Any]:
    given = dict(params.source_params)
    url = given.get("bucket_url")
    if (
        _OWN_FILES.match(params.source_module)
        and isinstance(url, str)
        and "://" not in url
        and not url.startswith("{{")
    ):
        given["bucket_url"] = _absolute(url, base_path)
    return given


@lru_cache(maxsize=4096)
def _secrets_files(module: str, code_path: str) -> tuple[str, ...]:
    folder = Path(code_path)
    package = module.partition(".")[0]
    return tuple(str(place / ".dlt" / "secrets.toml") for place in (folder, folder / package))


@lru_cache(maxsize=4096)
def _absolute(path: str | None, folder: str) -> str | None:
    return None if path is None else str(Path(folder) / path)


def _group_key(definition: LoadDefinition) -> Hashable:
    """Return what definitions need to have in common to be loaded together."""
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
        _frozen(vars(definition.partitions)) if definition.partitions else None,
        definition.schema_file_path,
        definition.snapshot_path,
        definition.nested_tables,
    )


def _frozen(value: Any) -> Hashable:
    """Return something hashable that is equal exactly where `value` is; 1, 1.0 and True differ."""
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
        name=re.sub(r"\W+", "_", name, flags=re.ASCII),
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


def _named_apart(definitions: Sequence[LoadDefinition]) -> list[LoadDefinition]:
    taken = {definition.name for definition in definitions}
    used: set[str] = set()
    counts: dict[str, int] = {}
    named = []
    for definition in definitions:
        name = definition.name
        while name in used or (name != definition.name and name in taken):
            counts[definition.name] = counts.get(definition.name, 1) + 1
            name = f"{definition.name}_{counts[definition.name]}"
        used.add(name)
        named.append(replace(definition, name=name) if name != definition.name else definition)
    return named
