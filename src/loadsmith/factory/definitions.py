"""`DagsterDltFactory`: build Dagster definitions from lists of dlt resources."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from loadsmith.assets.build import (
    build_load_definitions,
    checked_options,
)
from loadsmith.assets.define import (
    DagsterDltTranslator,
    build_upstream_specs,
    described_sources,
    known_options,
    with_granularity,
)
from loadsmith.assets.links import link_loads
from loadsmith.errors import ConfigError
from loadsmith.factory.loads import (
    CollectionLoad,
    DestinationOf,
    FactoryLoad,
    SchemaLoad,
    pipeline_name_of,
)
from loadsmith.factory.resource import ConfigurableDltResource
from loadsmith.model import merged_tags
from loadsmith.names import op_name

if TYPE_CHECKING:
    from dlt.extract import DltResource, DltSource


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
        on_empty: str | None = None,
        normalizer: str = "arrow",
        cursor_timezone: str | Mapping[str, str] | None = None,
        partitioned: bool | None = None,
        reload: str | None = None,
        guard: float | Mapping[str, float] | None = None,
        granularity: str = "source",
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
            on_empty: Where a resource yields no row in a run: `truncate` a replaced table, as dlt
                does, `keep` its rows, `fail` before anything is loaded, or truncate and `warn`.
            normalizer: `arrow` takes plain records apart by column, with the same result as dlt's
                row normalizer; `dlt` takes that one for all records.
            cursor_timezone: Time zone of cursor values that have none, where partitions are not in
                UTC: `partition`, `UTC`, the name of a zone, or one of these by resource.
            granularity: One op for a `source`, for each `component` of resources that feed one
                another, or for each `table`.
            partitioned: Whether loading a partition again replaces its rows; found out if None.
            reload: `append`, `replace` or `window`: what loading a partition again does, where it
                is not what the write disposition says.
            guard: The share of the rows there that a reload or a `replace` has to bring:
                `{"at_least": 0.8}`, or the number alone.
            multi_asset_options: All that Dagster's `multi_asset` takes (`partitions_def`, `pool`,
                `retry_policy`, ...), for every op.

        Raises:
            ConfigError: A name is not `<schema>.<table>` or is there twice, or a setting is wrong.
            TranslationError: The translator gave something unusable.
        """
        options = checked_options(
            run_params,
            on_error=on_error,
            on_empty=on_empty,
            normalizer=normalizer,
            cursor_timezone=cursor_timezone,
            partitioned=partitioned,
            reload=reload,
            guard=guard,
        )
        schemas: dict[str, dict[str, ConfigurableDltResource]] = {}
        for given in resources:
            member = (
                given
                if isinstance(given, ConfigurableDltResource)
                else ConfigurableDltResource.config(given)
            )
            name = member.resource.name
            members = schemas.setdefault(member.schema, {})
            if name in members:
                raise ConfigError(f"resource '{name}': the list has it twice. Remove one of them.")
            members[name] = member
        loads = [
            load
            for schema, members in schemas.items()
            for load in SchemaLoad.make_all(
                schema,
                members,
                destination,
                nested_tables,
                options,
                pipelines_dir,
                multi_asset_options.get("partitions_def"),
            )
        ]
        with known_options("build_definitions", DagsterDltFactory.build_definitions):
            return _build(loads, translator, granularity, multi_asset_options)

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
        on_error: str = "fail",
        on_empty: str | None = None,
        normalizer: str = "arrow",
        cursor_timezone: str | Mapping[str, str] | None = None,
        partitioned: bool | None = None,
        reload: str | None = None,
        guard: float | Mapping[str, float] | None = None,
        granularity: str = "source",
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
            on_error: `fail` with the first resource that fails, or `keep` what the others loaded.
            on_empty: Where a resource yields no row in a run: `truncate` a replaced table, as dlt
                does, `keep` its rows, `fail` before anything is loaded, or truncate and `warn`.
            normalizer: `arrow` takes plain records apart by column, with the same result as dlt's
                row normalizer; `dlt` takes that one for all records.
            cursor_timezone: Time zone of cursor values that have none, where partitions are not in
                UTC: `partition`, `UTC`, the name of a zone, or one of these by resource.
            granularity: One op for a `source`, for each `component` of resources that feed one
                another, or for each `table`.
            partitioned: Whether loading a partition again replaces its rows; found out if None.
            reload: `append`, `replace` or `window`: what loading a partition again does, where it
                is not what the write disposition says.
            guard: The share of the rows there that a reload or a `replace` has to bring:
                `{"at_least": 0.8}`, or the number alone.
            multi_asset_options: All that Dagster's `multi_asset` takes, for every op.

        Raises:
            ConfigError: A database has no collections.
            TranslationError: The translator gave something unusable.
        """
        options = checked_options(
            {"write_disposition": "replace", **(run_params or {})},
            on_error=on_error,
            on_empty=on_empty,
            normalizer=normalizer,
            cursor_timezone=cursor_timezone,
            partitioned=partitioned,
            reload=reload,
            guard=guard,
        )
        loads = []
        for database, names in collections.items():
            if not names or isinstance(names, str):
                raise ConfigError(
                    f"database '{database}': it has no list of collections. Name them, as in "
                    f"{{'{database}': ['comments']}}."
                )
            loads.append(
                CollectionLoad.make(
                    database,
                    tuple(dict.fromkeys(names)),
                    make_source,
                    DestinationOf(
                        destination,
                        pipeline_name_of(database),
                        dataset_name or database,
                        pipelines_dir,
                    ),
                    options,
                )
            )
        own = DagsterDltFactory.build_collection_definitions
        with known_options("build_collection_definitions", own):
            built = _build(loads, translator, granularity, multi_asset_options)
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


def _build(
    loads: Sequence[FactoryLoad],
    translator: DagsterDltTranslator | None,
    granularity: str,
    multi_asset_options: Mapping[str, Any],
) -> dg.Definitions:
    """Build the definitions of loads; keys of the translator win over those of the factory."""
    own_spec = _overrides(translator, "get_asset_spec")
    own_keys = _overrides(translator, "get_asset_key")
    own_deps = _overrides(translator, "get_deps_asset_keys")
    assets: list[Any] = []
    checks: list[Any] = []
    sensors: list[Any] = []
    sources: dict[dg.AssetKey, dg.AssetSpec] = {}
    for load in loads:
        built = build_load_definitions(
            [with_granularity(load.definition, granularity)],
            snapshots={load.definition.name: load.snapshot},
            translator=translator,
            key_for=None if own_keys else load.key_for,
            deps_for=None if own_deps else load.deps_for,
            with_upstreams=False,
            **_options_of(load, multi_asset_options),
        )
        assets += built.assets or ()
        checks += built.asset_checks or ()
        sensors += built.sensors or ()
        if not own_deps:
            sources.update({spec.key: spec for spec in load.source_specs()})
    specs = [spec for asset in assets for spec in asset.specs]
    if own_spec or own_deps:
        # Only upstream assets that a translated asset depends on are kept.
        wanted = build_upstream_specs(specs)
        sources = {spec.key: sources.get(spec.key, spec) for spec in wanted}
    return dg.Definitions(
        assets=[*link_loads(assets), *described_sources(sources.values(), specs)],
        asset_checks=checks,
        sensors=sensors,
    )


def _options_of(load: FactoryLoad, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `multi_asset` for a load, whose options win over the common ones."""
    own = dict(load.options)
    if "op_tags" in own:
        own["op_tags"] = merged_tags(given.get("op_tags") or {}, own["op_tags"])
    return {**given, **own}


def _overrides(translator: DagsterDltTranslator | None, method: str) -> bool:
    if translator is None:
        return False
    return getattr(type(translator), method) is not getattr(DagsterDltTranslator, method)
