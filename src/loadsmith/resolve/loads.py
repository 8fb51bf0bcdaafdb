"""Turn the params of a load into its definition."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from loadsmith.config.load_params import LoadParams
from loadsmith.config.models import DltAsset
from loadsmith.config.profiles import ProfileChoice, choose_profile
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.config.settings import AssetSettings, ResourceOpSettings, merged
from loadsmith.engine.destinations import absolute_sqlite, name_problem
from loadsmith.errors import ConfigError
from loadsmith.model import (
    AssetAttributes,
    DestinationReference,
    LoadDefinition,
    OpSettings,
    PartitionSettings,
    PipelineSettings,
    ResourceSelection,
    RunArguments,
    RunOptions,
    SourceReference,
)
from loadsmith.names import identifier

_OWN_FILES = re.compile(r"^(dlt\.sources\.)?filesystem(\.|$)")
"""dlt's source whose `bucket_url` may be a relative path."""

_OWN_DATABASES = re.compile(r"^(dlt\.sources\.)?sql_database(\.|$)")
"""dlt's source whose `credentials` may name a SQLite file by a relative path."""

_DATASET_PARAMS = ("dataset", "dataset_name")
"""Settings of a destination that name a dataset."""


def resolve_load(
    params: LoadParams,
    *,
    name: str,
    settings: AssetSettings | None = None,
    resource_settings: Mapping[str, ResourceOpSettings] | None = None,
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
    folder: str | None = None,
) -> LoadDefinition:
    """Turn the params of a load into its definition.

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
        folder: Folder of the file that it is written in, which may have a `.dlt` of its own.

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
    op = replace(
        settings.to_op_settings() if settings else OpSettings(), granularity=params.granularity
    )
    return LoadDefinition(
        name=identifier(name),
        source=SourceReference(
            module=params.source_module,
            params=_source_params(params, base_path),
            search_path=_absolute(project_dir, base_path),
            secrets_files=_secrets_files(params.source_module, code_path, folder),
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
            params=RunArguments.of(params.run_params.model_dump(exclude_none=True)),
            limit=params.limit,
            on_error=params.on_error,
            on_empty=params.on_empty,
            normalizer=params.normalizer,
            cursor_timezone=params.cursor_timezone,
            on_empty_is_said="on_empty" in params.model_fields_set,
            partitioned=params.partitioned,
            reload=params.reload,
            guard=params.guard,
        ),
        attributes=settings.to_attributes() if settings else AssetAttributes(),
        resource_attributes={
            resource: own.to_attributes() for resource, own in (resource_settings or {}).items()
        },
        op=op,
        resource_ops={
            resource: own_op
            for resource, own in (resource_settings or {}).items()
            if (own_op := own.own_op(op)) is not None
        },
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
        # The settings of a destination do not fit another one.
        written.pop("destination_params", None)
    return LoadParams.model_validate(merged(written, own)), choice


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
        # BigQuery's dataset may be among the settings of the destination.
        named = [params.destination_params.get(key) for key in _DATASET_PARAMS]
        default = default_dataset_name or f"{pipeline_name}_dataset"
        dataset_name = next((name for name in named if isinstance(name, str)), default)
    directory = _absolute(given.pop("pipelines_dir", None), base_path) or pipelines_dir
    for key in ("import_schema_path", "export_schema_path"):
        if key in given:
            given[key] = _absolute(given[key], code_path)
    return PipelineSettings(
        # Cursors belong to the name of the pipeline; a branch must not share them.
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
    address = given.get("credentials")
    if _OWN_DATABASES.match(params.source_module) and isinstance(address, str):
        given["credentials"] = absolute_sqlite(address, base_path)
    return given


@lru_cache(maxsize=4096)
def _secrets_files(module: str, code_path: str, folder: str | None) -> tuple[str, ...]:
    home = Path(code_path)
    places = (home, home / module.partition(".")[0], *([Path(folder)] if folder else ()))
    return tuple(str(place / ".dlt" / "secrets.toml") for place in dict.fromkeys(places))


@lru_cache(maxsize=4096)
def _absolute(path: str | None, folder: str) -> str | None:
    return None if path is None else str(Path(folder) / path)
