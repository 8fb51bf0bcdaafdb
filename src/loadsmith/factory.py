"""dlt resources with Dagster settings in, definitions out: a list of them is a whole project."""

import glob
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import ValidationError

from loadsmith.assets.build import build_load_definitions
from loadsmith.assets.specs import op_name
from loadsmith.assets.translator import DagsterDltTranslator
from loadsmith.config.settings import ResourceSettings
from loadsmith.engine.destinations import destination_problems
from loadsmith.engine.inspect import inspect_source
from loadsmith.engine.live import recipe_of
from loadsmith.errors import ConfigError, did_you_mean
from loadsmith.model import (
    AssetAttributes,
    DestinationReference,
    LoadDefinition,
    LoadSnapshot,
    PipelineSettings,
    ResourceSelection,
    ResourceSnapshot,
    RunOptions,
    TableSnapshot,
)

if TYPE_CHECKING:
    from dlt.extract import DltResource, DltSource

#: Where Dagster's settings are in `meta`.
META_KEY = "dagster"


@dataclass(frozen=True)
class ConfigurableDltResource:
    """A dlt resource and what Dagster is to know of it. Make one with `config`.

    Attributes:
        resource: The dlt resource; its name is `<schema>.<table>`.
        attributes: Dagster's settings of its asset.
        source_kinds: Kinds of the system that it comes from.
        meta: The rest of `meta`, which becomes metadata of the asset.
    """

    resource: "DltResource"
    attributes: AssetAttributes = field(default_factory=AssetAttributes)
    source_kinds: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def config(
        resource: "DltResource",
        kinds: Iterable[str] | None = None,
        tags: Mapping[str, str] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> "ConfigurableDltResource":
        """Give a dlt resource its Dagster settings.

        Args:
            resource: A dlt resource named `<schema>.<table>`.
            kinds: Kinds of the system that the data comes from, such as `api`; they are shown on
                the external asset upstream and, beside dlt's, on the asset itself.
            tags: Dagster tags of the asset.
            meta: Metadata of the asset. Its entry `dagster` holds settings instead:
                `automation_condition`, `automation_condition_config`,
                `freshness_lower_bound_delta_seconds`, `owners`, `group_name`, `description`,
                `deps`, `checks`.

        Raises:
            ConfigError: The name has another form, or a setting is wrong.
        """
        schema, table = _split_name(resource)
        given = dict(meta or {})
        settings = _read_settings(f"{schema}.{table}", given.pop(META_KEY, None))
        own = settings.to_attributes()
        named = tuple([kinds] if isinstance(kinds, str) else kinds or ())
        return ConfigurableDltResource(
            resource=resource,
            attributes=AssetAttributes(
                group_name=own.group_name or op_name(schema),
                description=own.description,
                owners=own.owners,
                tags={**own.tags, **(tags or {})},
                kinds=tuple(dict.fromkeys((*named, *own.kinds))),
                deps=own.deps,
                metadata={**given, **own.metadata},
                automation_condition=own.automation_condition,
                automation_condition_config=own.automation_condition_config,
                freshness_lower_bound_delta_seconds=own.freshness_lower_bound_delta_seconds,
                checks=own.checks,
            ),
            source_kinds=named,
            meta=given,
        )

    @property
    def schema(self) -> str:
        """The dataset that the resource is loaded into."""
        return _split_name(self.resource)[0]

    @property
    def table(self) -> str:
        """The table of the resource, as its name has it."""
        return _split_name(self.resource)[1]


class DagsterDltFactory:
    """Turns lists of dlt resources into Dagster definitions."""

    @staticmethod
    def build_definitions(
        resources: Sequence["ConfigurableDltResource | DltResource"],
        destination: Any = "duckdb",
        translator: DagsterDltTranslator | None = None,
        *,
        nested_tables: bool = False,
        run_params: Mapping[str, Any] | None = None,
        pipelines_dir: str | None = None,
        on_error: str = "fail",
        **multi_asset_options: Any,
    ) -> dg.Definitions:
        """Build the assets, checks and sensors of a list of resources.

        A resource named `<schema>.<table>` becomes the asset `<schema>/raw/<table>` of the group
        `<schema>`, downstream of the external asset `<schema>/src/<table>`. The resources of one
        schema are loaded together, into the dataset `<schema>` by the pipeline
        `<schema>_pipeline`; long lists are split into several ops.

        Args:
            resources: What `ConfigurableDltResource.config` gave; a bare dlt resource has no
                settings.
            destination: dlt's name of the destination, or a dlt destination.
            translator: Says how a resource becomes an asset; what it does not override is as
                described above.
            nested_tables: Whether nested tables that the resources declare are assets, too.
            run_params: Arguments of dlt's `pipeline.run`, such as `loader_file_format`.
            pipelines_dir: Folder of dlt's working directories; dlt's own where None.
            on_error: `fail` with the first resource that fails, or `keep` what the others loaded.
            multi_asset_options: All that Dagster's `multi_asset` takes (`partitions_def`, `pool`,
                `retry_policy`, ...), for every op.

        Raises:
            ConfigError: A name is not `<schema>.<table>` or is there twice, or a setting is wrong.
            TranslationError: The translator gave something unusable.
        """
        if on_error not in ("fail", "keep"):
            raise ConfigError(f"on_error: take 'fail' or 'keep', not {on_error!r}.")
        schemas: dict[str, dict[str, ConfigurableDltResource]] = {}
        for given in resources:
            found = (
                given
                if isinstance(given, ConfigurableDltResource)
                else ConfigurableDltResource.config(given)
            )
            members = schemas.setdefault(found.schema, {})
            if found.resource.name in members:
                raise ConfigError(
                    f"resource '{found.resource.name}': the list has it twice. Remove one of them."
                )
            members[found.resource.name] = found
        loads = [
            _SchemaLoad.make(
                schema,
                members,
                destination,
                nested_tables,
                RunOptions(params=dict(run_params or {}), on_error=on_error),
                pipelines_dir,
            )
            for schema, members in schemas.items()
        ]
        return _build(loads, translator, multi_asset_options)

    @staticmethod
    def build_collection_definitions(
        collections: Mapping[str, Sequence[str]],
        make_source: "Callable[[str], DltSource]",
        destination: Any = "duckdb",
        translator: DagsterDltTranslator | None = None,
        *,
        dataset_name: str | None = None,
        run_params: Mapping[str, Any] | None = None,
        pipelines_dir: str | None = None,
        **multi_asset_options: Any,
    ) -> dg.Definitions:
        """Build an asset for each collection of each database, and a job for each database.

        The collection `comments` of the database `sample_mflix` becomes the asset
        `raw_sample_mflix/comments` of the group `sample_mflix`, and the job `sample_mflix_assets`
        materializes the group. The source is not asked before the run: the names are enough.

        Args:
            collections: The collections (or tables) to load, by database.
            make_source: Makes the dlt source of a database from its name; it is called in the run.
            destination: dlt's name of the destination, or a dlt destination.
            translator: Says how a resource becomes an asset, where it overrides something.
            dataset_name: Dataset of all databases; one named like the database where None.
            run_params: Arguments of dlt's `pipeline.run`; `write_disposition` is `replace` unless
                it is among them.
            pipelines_dir: Folder of dlt's working directories; dlt's own where None.
            multi_asset_options: All that Dagster's `multi_asset` takes, for every op.

        Raises:
            ConfigError: A database has no collections.
            TranslationError: The translator gave something unusable.
        """
        params = {"write_disposition": "replace", **(run_params or {})}
        loads = []
        for database, names in collections.items():
            if not names or isinstance(names, str):
                raise ConfigError(
                    f"database '{database}': it has no list of collections. Name them, as in "
                    f"{{'{database}': ['comments']}}."
                )
            loads.append(
                _CollectionLoad.make(
                    database,
                    tuple(dict.fromkeys(names)),
                    make_source,
                    _DestinationOf(
                        destination,
                        pipeline_name_of(database),
                        dataset_name or database,
                        pipelines_dir,
                    ),
                    params,
                )
            )
        built = _build(loads, translator, multi_asset_options)
        jobs = [
            dg.define_asset_job(
                f"{op_name(database)}_assets",
                selection=dg.AssetSelection.groups(op_name(database)),
                description=f"All collections of {database}",
            )
            for database in collections
        ]
        return dg.Definitions(
            assets=built.assets, asset_checks=built.asset_checks, sensors=built.sensors, jobs=jobs
        )


def pipeline_name_of(schema: str) -> str:
    """Return the name of the pipeline that loads a schema.

    It is not that of the schema: dlt names DuckDB's default file after the pipeline, and DuckDB
    cannot tell a schema from a database of the same name.
    """
    return f"{op_name(schema)}_pipeline"


@dataclass(frozen=True)
class _DestinationOf:
    """Where a load goes: a destination by name is made in the run, a live one is kept."""

    destination: Any
    pipeline_name: str
    dataset_name: str
    pipelines_dir: str | None

    def __post_init__(self) -> None:
        problems: list[str] = []
        if isinstance(self.destination, str):
            problems = destination_problems(DestinationReference(name=self.destination))
        if problems:
            raise ConfigError(" ".join(problems))

    @property
    def name(self) -> str | None:
        if isinstance(self.destination, str):
            return self.destination
        return getattr(self.destination, "destination_name", None)

    def settings(self) -> dict[str, Any]:
        """Return the arguments of `LoadDefinition` that say where it goes."""
        if isinstance(self.destination, str):
            return {
                "pipeline": PipelineSettings(
                    pipeline_name=self.pipeline_name,
                    dataset_name=self.dataset_name,
                    pipelines_dir=self.pipelines_dir,
                ),
                "destination": DestinationReference(name=self.destination),
            }
        return {"pipeline": self._make_pipeline}

    def _make_pipeline(self) -> Any:
        import dlt

        options: dict[str, Any] = {"destination": self.destination}
        if self.pipelines_dir is not None:
            options["pipelines_dir"] = self.pipelines_dir
        return dlt.pipeline(
            pipeline_name=self.pipeline_name, dataset_name=self.dataset_name, **options
        )


@dataclass(frozen=True)
class _Load:
    """A definition, what is known of it, and the keys that this door gives."""

    definition: LoadDefinition
    snapshot: LoadSnapshot

    def key_for(self, resource: ResourceSnapshot, table: TableSnapshot | None) -> dg.AssetKey:
        raise NotImplementedError

    def source_key(self, resource: ResourceSnapshot) -> dg.AssetKey:
        raise NotImplementedError

    def source_kinds(self, resource: ResourceSnapshot) -> tuple[str, ...]:
        return ()

    def deps_for(self, resource: ResourceSnapshot) -> tuple[dg.AssetKey, ...]:
        return (self.source_key(resource),)

    def source_specs(self) -> list[dg.AssetSpec]:
        return [
            dg.AssetSpec(
                key=self.source_key(resource),
                group_name=self.definition.attributes_of(resource.name).group_name,
                kinds=set(self.source_kinds(resource)),
            )
            for resource in self.snapshot.resources
        ]


@dataclass(frozen=True)
class _SchemaLoad(_Load):
    """The resources of one schema."""

    schema: str
    members: Mapping[str, ConfigurableDltResource]

    @staticmethod
    def make(
        schema: str,
        members: Mapping[str, ConfigurableDltResource],
        destination: Any,
        nested_tables: bool,
        options: RunOptions,
        pipelines_dir: str | None,
    ) -> "_SchemaLoad":
        source = _make_source(schema, [member.resource for member in members.values()])
        target = _DestinationOf(destination, pipeline_name_of(schema), schema, pipelines_dir)
        definition = LoadDefinition(
            name=op_name(schema),
            source=recipe_of(source),
            options=options,
            resource_attributes={name: member.attributes for name, member in members.items()},
            nested_tables=nested_tables,
            **target.settings(),
        )
        snapshot = inspect_source(
            source,
            pipeline_name=target.pipeline_name,
            dataset_name=schema,
            destination_name=target.name,
        )
        return _SchemaLoad(definition, snapshot, schema, members)

    def key_for(self, resource: ResourceSnapshot, table: TableSnapshot | None) -> dg.AssetKey:
        # A resource with one table has the key of its name, whatever dlt makes of that.
        name = self.members[resource.name].table
        if table is not None and len(resource.root_tables) > 1:
            name = table.name
        return dg.AssetKey([self.schema, "raw", name])

    def source_key(self, resource: ResourceSnapshot) -> dg.AssetKey:
        return dg.AssetKey([self.schema, "src", self.members[resource.name].table])

    def source_kinds(self, resource: ResourceSnapshot) -> tuple[str, ...]:
        return self.members[resource.name].source_kinds


@dataclass(frozen=True)
class _CollectionLoad(_Load):
    """The collections of one database."""

    database: str

    @staticmethod
    def make(
        database: str,
        names: tuple[str, ...],
        make_source: "Callable[[str], DltSource]",
        target: _DestinationOf,
        run_params: Mapping[str, Any],
    ) -> "_CollectionLoad":
        definition = LoadDefinition(
            name=op_name(database),
            source=lambda: make_source(database).with_resources(*names),
            resources=ResourceSelection(include=tuple(glob.escape(name) for name in names)),
            options=RunOptions(params=run_params),
            attributes=AssetAttributes(group_name=op_name(database)),
            nested_tables=False,
            **target.settings(),
        )
        known = LoadSnapshot(
            source_name=database,
            resources=tuple(
                ResourceSnapshot(name=name, source_name=database, table_name=name) for name in names
            ),
            origin="names",
            pipeline_name=target.pipeline_name,
            dataset_name=target.dataset_name,
            destination_name=target.name,
        )
        return _CollectionLoad(definition, known, database)

    def key_for(self, resource: ResourceSnapshot, table: TableSnapshot | None) -> dg.AssetKey:
        return dg.AssetKey([f"raw_{self.database}", resource.name])

    def source_key(self, resource: ResourceSnapshot) -> dg.AssetKey:
        return dg.AssetKey([self.database, resource.name])


def _build(
    loads: Sequence[_Load],
    translator: DagsterDltTranslator | None,
    multi_asset_options: Mapping[str, Any],
) -> dg.Definitions:
    """Build the definitions of loads, with the door's keys unless the translator has its own."""
    own_spec = _overrides(translator, "get_asset_spec")
    own_keys = own_spec or _overrides(translator, "get_asset_key")
    own_deps = own_spec or _overrides(translator, "get_deps_asset_keys")
    assets: list[Any] = []
    checks: list[Any] = []
    sensors: list[Any] = []
    sources: dict[dg.AssetKey, dg.AssetSpec] = {}
    for load in loads:
        built = build_load_definitions(
            [load.definition],
            snapshots={load.definition.name: load.snapshot},
            translator=translator,
            key_for=None if own_keys else load.key_for,
            deps_for=None if own_deps else load.deps_for,
            with_upstreams=own_deps,
            **multi_asset_options,
        )
        assets += built.assets or ()
        checks += built.asset_checks or ()
        sensors += built.sensors or ()
        if not own_deps:
            sources.update({spec.key: spec for spec in load.source_specs()})
    return dg.Definitions(assets=[*assets, *sources.values()], asset_checks=checks, sensors=sensors)


def _overrides(translator: DagsterDltTranslator | None, method: str) -> bool:
    if translator is None:
        return False
    return getattr(type(translator), method) is not getattr(DagsterDltTranslator, method)


def _make_source(schema: str, resources: Sequence["DltResource"]) -> "DltSource":
    import dlt

    @dlt.source(name=schema)
    def source() -> Any:
        return list(resources)

    made = source()
    # The source has copies, in which transformers still share what feeds them. The caller's
    # resources stay as they are, for they may be in another list, too.
    for resource in made.resources.values():
        if not resource.table_name or resource.table_name == resource.name:
            resource.apply_hints(table_name=_split_name(resource)[1])
    return made


def _split_name(resource: Any) -> tuple[str, str]:
    """Return the schema and the table that the name of a resource says.

    Raises:
        ConfigError: It is no dlt resource, or its name has another form.
    """
    name = getattr(resource, "name", None)
    if not isinstance(name, str) or not hasattr(resource, "apply_hints"):
        raise ConfigError(
            f"{resource!r} is no dlt resource. Make one with "
            "dlt.resource(function, name='schema.table')."
        )
    schema, dot, table = name.partition(".")
    if not dot or not schema or not table or "." in table:
        raise ConfigError(
            f"resource '{name}': the name says neither dataset nor table. Call it "
            f"'schema.table', as in dlt.resource(..., name='my_dataset.{name or 'table'}')."
        )
    return schema, table


def _read_settings(name: str, given: Any) -> ResourceSettings:
    """Read `meta["dagster"]`.

    Raises:
        ConfigError: A field is unknown, or a value is wrong; all mistakes of the resource at once.
    """
    place = f"resource '{name}', meta['{META_KEY}']"
    if given is None:
        return ResourceSettings()
    if not isinstance(given, Mapping):
        raise ConfigError(f"{place}: this takes a mapping, not {given!r}. Write one.")
    values = dict(given)
    if isinstance(values.get("deps"), (list, tuple)):
        values["deps"] = [
            dep.to_user_string() if isinstance(dep, dg.AssetKey) else dep for dep in values["deps"]
        ]
    try:
        return ResourceSettings.model_validate(values, strict=False)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_mistake(place, detail) for detail in error.errors(include_url=False))
        ) from error


def _mistake(place: str, detail: Any) -> str:
    field_name = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(field_name, ResourceSettings.model_fields)
        known = f" There is: {', '.join(sorted(ResourceSettings.model_fields))}."
        return f"{place}: there is no field '{field_name}'.{hint or known}"
    return f"{place}.{field_name}: {detail['input']!r} is wrong ({detail['msg']}). Change it."
