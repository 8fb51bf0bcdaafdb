"""Settings or a live pipeline -> what a pipeline of this run is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadsmith.engine.destinations import destination_dataset, exact, make_destination
from loadsmith.engine.dlt_hooks import exports_schemas, fenced, imports_schemas, pipeline_of
from loadsmith.engine.sources import make_pipeline
from loadsmith.errors import ConfigError
from loadsmith.model import (
    LoadDefinition,
    PipelineSettings,
    RunRequest,
)


@dataclass(frozen=True)
class PipelineParts:
    """What a pipeline is made of, whether settings or a live pipeline said so."""

    name: str
    pipelines_dir: str
    destination: Any
    dataset_name: str | None
    params: Mapping[str, Any]


def parts_of(definition: LoadDefinition, request: RunRequest) -> PipelineParts:
    """Return what the pipeline of a run is made of, with the arguments of the run applied."""
    overrides = request.params.to("pipeline")
    recipe = request.pipeline if request.pipeline is not None else definition.pipeline
    if isinstance(recipe, PipelineSettings):
        return _parts_of_settings(definition, recipe, overrides)
    live = make_pipeline(recipe) if callable(recipe) else recipe
    destination = overrides.get("destination") or live.destination
    if destination is None:
        raise ConfigError(
            f"{definition.place or definition.name}: the pipeline '{live.pipeline_name}' has no"
            " destination. Give one to dlt.pipeline(destination=...)."
        )
    params: dict[str, Any] = {"progress": live.collector}
    optional = {
        "staging": overrides.get("staging") or live.staging,
        "import_schema_path": imports_schemas(live),
        "export_schema_path": exports_schemas(live),
        "refresh": live.refresh,
    }
    params.update({name: value for name, value in optional.items() if value is not None})
    if live.is_active:
        live.deactivate()
    return PipelineParts(
        name=live.pipeline_name,
        pipelines_dir=str(Path(live.pipelines_dir).absolute()),
        destination=_destination_from(destination, overrides.get("credentials")),
        dataset_name=overrides.get("dataset_name") or live.dataset_name,
        params=_with_absolute_paths(params),
    )


def _parts_of_settings(
    definition: LoadDefinition, settings: PipelineSettings, overrides: Mapping[str, Any]
) -> PipelineParts:
    from dlt.common.pipeline import get_dlt_pipelines_dir

    destination = overrides.get("destination")
    if destination is None:
        if definition.destination is None:
            raise ConfigError(
                f"{definition.place or definition.name}: the load has no destination. Name one."
            )
        destination = make_destination(definition.destination)
    params = {**settings.params, **{k: overrides[k] for k in ("staging",) if k in overrides}}
    named = destination_dataset(definition.destination) if definition.destination else None
    dataset_name = overrides.get("dataset_name") or settings.dataset_name or named
    return PipelineParts(
        name=settings.pipeline_name,
        pipelines_dir=str(Path(settings.pipelines_dir or get_dlt_pipelines_dir()).absolute()),
        destination=_destination_from(destination, overrides.get("credentials")),
        dataset_name=dataset_name or f"{settings.pipeline_name}_dataset",
        params=_with_absolute_paths(params),
    )


def _with_absolute_paths(params: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of a pipeline whose folders stay where they are when a source moves."""
    folders = ("import_schema_path", "export_schema_path")
    found = {key: str(Path(params[key]).absolute()) for key in folders if params.get(key)}
    return params | found


def _destination_from(destination: Any, credentials: Any) -> Any:
    """Return a destination of this run's own: dlt binds it to the first pipeline that uses it."""
    from dlt.common.destination import Destination

    if isinstance(destination, str):
        kwargs = {} if credentials is None else {"credentials": credentials}
        found: Any = Destination.from_reference(destination, **kwargs)
        return fenced(exact(found))
    from copy import copy

    own = copy(destination)
    own.config_params = dict(destination.config_params)
    own.caps_params = dict(destination.caps_params)
    if credentials is not None:
        own.config_params["credentials"] = credentials
    return fenced(exact(own))


def bind_local_files(parts: PipelineParts, home: Path) -> None:
    """Keep the default file of a local database the same for every partition of a load."""
    from dlt.common.storages.configuration import WithLocalFiles

    if issubclass(parts.destination.spec, WithLocalFiles):
        params = parts.destination.config_params
        if params.get("pipeline_name") is None:
            params["pipeline_name"] = parts.name
        if params.get("pipeline_working_dir") is None:
            params["pipeline_working_dir"] = str(home / parts.name)


def isolate_staging(destination: Any, token: str) -> None:
    """Give the attempt a staging dataset of its own, for two would empty one another's."""
    from dlt.common.destination.client import DestinationClientDwhConfiguration

    if not issubclass(destination.spec, DestinationClientDwhConfiguration):
        return
    if "staging_dataset_name_layout" not in destination.config_params:
        destination.config_params["staging_dataset_name_layout"] = staging_layout(token)


def staging_layout(token: str) -> str:
    """Return how the staging dataset of an attempt is called."""
    return f"%s_staging_{token[:12]}"


def new_pipeline(parts: PipelineParts, state_name: str, pipelines_dir: Path) -> Any:
    """Make the pipeline in `pipelines_dir`."""
    return pipeline_of(
        state_name,
        pipelines_dir=str(pipelines_dir),
        dataset_name=parts.dataset_name,
        destination=parts.destination,
        **parts.params,
    )
