"""Resolve the entries of `loads` to LoadDefinitions."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from loadsmith.component.load_spec import DltLoadSpecModel, Home
from loadsmith.component.models import LoadSettings
from loadsmith.component.references import (
    PIPELINE,
    SOURCE,
    load_reference,
    recipe,
)
from loadsmith.config.load_params import LoadOptions, LoadParams, ProfileParams
from loadsmith.config.profiles import choose_profile
from loadsmith.config.settings import AssetSettings, ResourceOpSettings, merged
from loadsmith.engine.destinations import dataset_of, make_destination
from loadsmith.engine.sources import Live, look_at_pipeline
from loadsmith.errors import ConfigError
from loadsmith.model import DestinationReference, LoadDefinition, PipelineSettings
from loadsmith.names import load_op_name, lower_identifier, unique_names
from loadsmith.resolve import resolve_load

# A declared load needs both to be valid; the Python objects replace them afterwards.
_NO_MODULE = "rest_api"
_NO_DESTINATION = "duckdb"


@dataclass(frozen=True, kw_only=True)
class ComponentLoad:
    """A load of a component, ready to be inspected and built.

    Attributes:
        spec: Its entry of `loads`.
        definition: The recipe.
        key_prefix: The dataset in the file, which is the prefix of the asset keys. The profile does
            not change it, so that an asset has the same key in each deployment.
        names: `pipeline_name`, `dataset_name` and `destination_name` of a pipeline in Python.
        is_declared: Whether the file describes the source; False if Python makes it.
        op_name: Name of the op, which is the one that dagster-dlt gives where it takes the load.
    """

    spec: DltLoadSpecModel
    definition: LoadDefinition
    key_prefix: str | None
    names: Mapping[str, Any] = field(default_factory=dict)
    is_declared: bool = True
    op_name: str = ""

    @property
    def live_pipeline(self) -> Any:
        """The live pipeline, if the reference names one."""
        made = self.definition.pipeline
        return made.value if isinstance(made, Live) else None

    def op_name_of(self, part: LoadDefinition) -> str:
        """Return the name of the op of a part of the load."""
        return f"{self.op_name}{part.name.removeprefix(self.definition.name)}"


def resolve_loads(
    loads: Sequence[DltLoadSpecModel], defaults: LoadSettings, home: Home
) -> list[ComponentLoad]:
    """Return the loads of a component as definitions with unique names.

    Raises:
        ConfigError: A load has no source or no destination, or a setting is wrong.
        ResolveError: A reference leads nowhere.
    """
    resolved = [_resolve(load, defaults, home) for load in loads]
    shared = Counter(_pipeline_name(load) for load in resolved)
    names = unique_names([load.definition.name for load in resolved])
    ops = unique_names([load.op_name for load in resolved])
    return [
        replace(
            load,
            op_name=op,
            definition=replace(
                load.definition,
                name=name,
                owns_pipeline_name=load.definition.owns_pipeline_name
                and shared[_pipeline_name(load)] == 1,
            ),
        )
        for load, name, op in zip(resolved, names, ops, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Written:
    """The settings of a load over the defaults of the component.

    Attributes:
        settings: All fields of its entry.
        options: The fields among them that a declared load has, too.
    """

    spec: DltLoadSpecModel
    home: Home
    name: str
    settings: Mapping[str, Any]
    options: Mapping[str, Any]


def _resolve(spec: DltLoadSpecModel, defaults: LoadSettings, home: Home) -> ComponentLoad:
    settings = merged(
        defaults.model_dump(exclude_unset=True), spec.entry.model_dump(exclude_unset=True)
    )
    source = _object(spec.source, SOURCE, home)
    pipeline = _object(spec.pipeline, PIPELINE, home)
    options = {name: settings[name] for name in LoadOptions.model_fields if name in settings}
    if source is None and not settings.get("source_module"):
        raise ConfigError(
            f"{spec.described}: nothing says what is loaded. Add `source`, a reference to a dlt "
            "source, or `source_module` to declare one."
        )
    if pipeline is not None:
        # The destination of `defaults` is meant for loads without a pipeline.
        options.pop("destination", None)
        options.pop("destination_params", None)
    elif not options.get("destination") and not options.get("profiles"):
        raise ConfigError(
            f"{spec.described}: nothing says where it goes. Add `destination: duckdb`, or "
            "`pipeline`, a reference to a dlt pipeline."
        )
    module = _module(settings, home)
    short = module.rpartition(".")[2] if module else _source_name(source)
    written = _Written(
        spec=spec,
        home=home,
        name=lower_identifier(spec.entry.name or f"{home.label}_{short}", prefix="load"),
        settings=settings,
        options=options,
    )
    load = _into_destination(written) if pipeline is None else _into_pipeline(written, pipeline)
    named = written.name if spec.entry.name else load_op_name(load.definition.name)
    load = replace(load, op_name=named)
    if source is None:
        return load
    chooses = options.get("resources") or options.get("exclude")
    if pipeline is not None and not spec.entry.name and not chooses:
        load = replace(load, op_name=load_op_name(f"{_source_name(source)}_{load.key_prefix}"))
    made = recipe(source, kind=SOURCE, path=_text(spec.source))
    return replace(load, definition=replace(load.definition, source=made), is_declared=False)


def _into_destination(written: _Written) -> ComponentLoad:
    """Resolve a load whose pipeline is made from settings in the run."""
    options = written.options
    pipeline_params = options.get("pipeline_params") or {}
    dataset = (
        pipeline_params.get("dataset_name")
        or (options.get("destination_params") or {}).get("dataset")
        or f"{pipeline_params.get('pipeline_name') or written.name}_dataset"
    )
    return ComponentLoad(spec=written.spec, definition=_base(written), key_prefix=dataset)


def _into_pipeline(written: _Written, pipeline: Any) -> ComponentLoad:
    """Resolve a load into a pipeline that Python makes."""
    spec, options = written.spec, dict(written.options)
    make_pipeline = recipe(pipeline, kind=PIPELINE, path=_text(spec.pipeline))
    names, _, dataset = look_at_pipeline(make_pipeline)
    profiles = options.pop("profiles", None) or {}
    choice = choose_profile(profiles, os.environ)
    profile = profiles.get(choice.name, {})
    if profile or choice.suffix:
        make_pipeline = partial(_repointed, make_pipeline, profile, choice.suffix)
        names = look_at_pipeline(make_pipeline).names
    name = written.name
    if not spec.entry.name:
        name = lower_identifier(f"{name}_{dataset}", prefix="load")
    definition = _base(
        replace(written, name=name, options={**options, "destination": _NO_DESTINATION})
    )
    return ComponentLoad(
        spec=spec,
        definition=replace(definition, pipeline=make_pipeline, destination=None),
        key_prefix=dataset,
        names=names,
    )


def _base(written: _Written) -> LoadDefinition:
    """Return the definition as if the load were declared; Python objects replace parts of it."""
    settings, home, options = written.settings, written.home, written.options
    snapshot = settings.get("snapshot_path")
    schema_file = options.get("schema_file_path")
    if schema_file:
        options = {**options, "schema_file_path": home.path_of(schema_file)}
    params = {"source_module": _module(settings, home) or _NO_MODULE, **options}
    own = {field: settings[field] for field in AssetSettings.model_fields if field in settings}
    return resolve_load(
        LoadParams.model_validate(params),
        name=written.name,
        settings=AssetSettings.model_validate(own),
        resource_settings={
            resource: ResourceOpSettings.model_validate(given)
            for resource, given in (settings.get("resource_settings") or {}).items()
        },
        base_path=str(home.project_root),
        default_pipeline_name=written.name,
        snapshot_path=str(home.folder / snapshot) if snapshot else None,
        nested_tables=settings.get("nested_tables", False),
        place=written.spec.place,
        folder=str(home.folder),
    )


def _repointed(make: Callable[[], Any], given: Mapping[str, Any], suffix: str) -> Any:
    """Return a pipeline like that of `make`, with the destination and names of the profile."""
    profile = ProfileParams.model_validate(given)
    import dlt

    pipeline = make()
    destination = pipeline.destination
    if profile.destination:
        destination = make_destination(
            DestinationReference(name=profile.destination, params=profile.destination_params)
        )
    own = profile.pipeline_params.model_dump(exclude_unset=True)
    named = {"pipeline_name": pipeline.pipeline_name, "dataset_name": dataset_of(pipeline)}
    for name, value in named.items():
        own[name] = f"{own.get(name) or value}{suffix}"
    if "dataset_name" in destination.config_params:
        # It would win over the dataset of the profile.
        destination = copy(destination)
        params = dict(destination.config_params)
        destination.config_params = {**params, "dataset_name": own["dataset_name"]}
    make_pipeline: Any = dlt.pipeline
    return make_pipeline(destination=destination, **own)


def _module(settings: Mapping[str, Any], home: Home) -> str | None:
    module: str | None = settings.get("source_module")
    return f"{home.package}{module}" if module and module.startswith(".") else module


def _object(given: Any, kind: str, home: Home) -> Any:
    """Return the object of a reference in Python; those in YAML are resolved already."""
    if isinstance(given, str):
        return load_reference(given, package=home.package, kind=kind)
    return given


def _pipeline_name(load: ComponentLoad) -> str:
    pipeline = load.definition.pipeline
    if isinstance(pipeline, PipelineSettings):
        return pipeline.pipeline_name
    return str(load.names["pipeline_name"])


def _source_name(source: Any) -> str:
    return str(getattr(source, "name", None) or getattr(source, "__name__", None) or "source")


def _text(given: Any) -> str:
    return given if isinstance(given, str) else _source_name(given)
