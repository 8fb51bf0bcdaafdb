"""Divide lists of dlt resources, and of collections, into loads."""

import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from loadsmith.assets.define import group_equal, key_part, load_part, with_seen_tables
from loadsmith.engine.destinations import destination_problems
from loadsmith.engine.snapshots import inspect_source
from loadsmith.engine.sources import recipe_of
from loadsmith.errors import ConfigError
from loadsmith.factory.resource import ConfigurableDltResource, split_name
from loadsmith.model import (
    AssetAttributes,
    DestinationReference,
    Feeds,
    LoadDefinition,
    LoadSnapshot,
    PipelineSettings,
    ResourceSelection,
    ResourceSnapshot,
    RunOptions,
    TableSnapshot,
)
from loadsmith.names import lower_identifier, op_name

if TYPE_CHECKING:
    from dlt.extract import DltResource, DltSource


def pipeline_name_of(schema: str) -> str:
    """Return the name of the pipeline that loads a schema.

    It differs from the name of the schema: dlt names DuckDB's default file after the pipeline, and
    in DuckDB a schema and a database must not have the same name.
    """
    return f"{op_name(schema)}_pipeline"


@dataclass(frozen=True)
class DestinationOf:
    """The destination of a load: a name, made to a destination in the run, or a live one."""

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
    def dataset(self) -> str:
        """The dataset; the one that is given to the destination wins in dlt."""
        own = getattr(self.destination, "config_params", {}).get("dataset_name")
        return str(own or self.dataset_name)

    @property
    def name(self) -> str | None:
        """The name of the destination, or None if it has no name."""
        if isinstance(self.destination, str):
            return self.destination
        return getattr(self.destination, "destination_name", None)

    def settings(self) -> dict[str, Any]:
        """Return the pipeline and destination as arguments of `LoadDefinition`."""
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
class FactoryLoad:
    """A definition, its snapshot, and the asset keys of the factory."""

    definition: LoadDefinition
    snapshot: LoadSnapshot

    @property
    def options(self) -> Mapping[str, Any]:
        """Arguments of `multi_asset` for this load; None removes a common argument."""
        return {}

    def key_for(self, resource: ResourceSnapshot, table: TableSnapshot | None) -> dg.AssetKey:
        """Return the key of the asset of a resource, or of one of its root tables."""
        raise NotImplementedError

    def source_key(self, resource: ResourceSnapshot) -> dg.AssetKey:
        """Return the key of the external asset upstream of a resource."""
        raise NotImplementedError

    def source_kinds(self, resource: ResourceSnapshot) -> tuple[str, ...]:
        """Return the kinds of that external asset."""
        return ()

    def deps_for(self, resource: ResourceSnapshot) -> tuple[dg.AssetKey, ...]:
        """Return the upstream keys of a resource."""
        return (self.source_key(resource),)

    def source_specs(self) -> list[dg.AssetSpec]:
        """Return the specs of the external assets."""
        return [
            dg.AssetSpec(
                key=self.source_key(resource),
                group_name=self.definition.attributes_of(resource.name).group_name,
                kinds=set(self.source_kinds(resource)),
            )
            for resource in self.snapshot.resources
            if self.definition.resources.matches(resource.name)
        ]


@dataclass(frozen=True)
class SchemaLoad(FactoryLoad):
    """The resources of a schema, or those of them whose ops have the same settings."""

    schema: str
    members: Mapping[str, ConfigurableDltResource]

    @staticmethod
    def make_all(
        schema: str,
        members: Mapping[str, ConfigurableDltResource],
        destination: Any,
        nested_tables: bool,
        options: RunOptions,
        pipelines_dir: str | None,
        partitions_def: Any = None,
    ) -> "list[SchemaLoad]":
        """Return the loads of the resources of a schema, one for each group of equal settings.

        Raises:
            ConfigError: Two of them would read the same cursor.
        """
        source = _make_source(schema, [member.resource for member in members.values()])
        target = DestinationOf(destination, pipeline_name_of(schema), schema, pipelines_dir)
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
            dataset_name=target.dataset,
            destination_name=target.name,
        )
        snapshot = with_seen_tables(snapshot, definition)
        ways = group_equal(
            ((member.op, member.partitions_def), name) for name, member in members.items()
        )
        _refuse_shared_cursors([names for _, names in ways], members, snapshot, partitions_def)
        if len(ways) == 1:
            ((op, _), _) = ways[0]
            return [SchemaLoad(replace(definition, op=op), snapshot, schema, members)]
        return [
            SchemaLoad(
                load_part(
                    definition,
                    f"{definition.name}__{op_name(members[names[0]].table)}",
                    op,
                    names,
                    members,
                ),
                snapshot,
                schema,
                members,
            )
            for (op, _), names in ways
        ]

    @property
    def _member(self) -> ConfigurableDltResource:
        """A resource of the load; the op settings of all of them are equal."""
        selected = self.definition.resources
        return next(member for name, member in self.members.items() if selected.matches(name))

    @property
    def options(self) -> Mapping[str, Any]:
        """Arguments of `multi_asset` for this load; None removes a common argument."""
        op, partitions_def = self._member.op, self._member.partitions_def
        own: dict[str, Any] = {"partitions_def": partitions_def} if partitions_def else {}
        if op.pool:
            own["pool"] = op.pool
        if op.op_tags:
            own["op_tags"] = op.op_tags
        if op.max_retries:
            own["retry_policy"] = None
        if op.max_partitions_per_run or partitions_def:
            own["backfill_policy"] = None
        return own

    def key_for(self, resource: ResourceSnapshot, table: TableSnapshot | None) -> dg.AssetKey:
        """Return `<schema>/raw/<table>`."""
        # The key of a resource with one table is its name, whatever dlt calls the table.
        name = self.members[resource.name].table
        if table is not None and len(resource.root_tables) > 1:
            name = table.name
        return dg.AssetKey([key_part(self.schema), "raw", key_part(name)])

    def source_key(self, resource: ResourceSnapshot) -> dg.AssetKey:
        """Return `<schema>/src/<table>`."""
        table = key_part(self.members[resource.name].table)
        return dg.AssetKey([key_part(self.schema), "src", table])

    def deps_for(self, resource: ResourceSnapshot) -> tuple[dg.AssetKey, ...]:
        """Return the external asset, and the feed of a transformer if another op loads it."""
        feeds = resource.upstream
        if feeds is None or feeds not in self.members or self.definition.resources.matches(feeds):
            return super().deps_for(resource)
        return (
            *super().deps_for(resource),
            self.key_for(ResourceSnapshot(name=feeds, source_name=self.schema), None),
        )

    def source_kinds(self, resource: ResourceSnapshot) -> tuple[str, ...]:
        """Return the kinds of the resource's system."""
        return self.members[resource.name].source_kinds


@dataclass(frozen=True)
class CollectionLoad(FactoryLoad):
    """The collections of one database."""

    database: str

    @staticmethod
    def make(
        database: str,
        names: tuple[str, ...],
        make_source: "Callable[[str], DltSource]",
        target: DestinationOf,
        options: RunOptions,
    ) -> "CollectionLoad":
        """Return the load of the collections of a database."""
        definition = LoadDefinition(
            name=op_name(database),
            source=lambda: make_source(database).with_resources(*names),
            resources=ResourceSelection(include=tuple(glob.escape(name) for name in names)),
            options=options,
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
            dataset_name=target.dataset,
            destination_name=target.name,
        )
        return CollectionLoad(definition, known, database)

    def key_for(self, resource: ResourceSnapshot, table: TableSnapshot | None) -> dg.AssetKey:
        """Return `raw_<database>/<collection>`."""
        return dg.AssetKey([f"raw_{key_part(self.database)}", key_part(resource.name)])

    def source_key(self, resource: ResourceSnapshot) -> dg.AssetKey:
        """Return `<database>/<collection>`."""
        return dg.AssetKey([key_part(self.database), key_part(resource.name)])


def _refuse_shared_cursors(
    groups: Sequence[Sequence[str]],
    members: Mapping[str, ConfigurableDltResource],
    snapshot: LoadSnapshot,
    partitions_def: Any,
) -> None:
    """Refuse ops that would read one cursor, where the windows of partitions do not bound it."""
    feeds = Feeds.of_snapshots(snapshot.resources)
    first: dict[str, tuple[int, str]] = {}
    for number, names in enumerate(groups):
        for name in names:
            partitions = members[name].partitions_def or partitions_def
            if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
                continue
            for feed in feeds.moved(name):
                other, sharer = first.setdefault(feed, (number, name))
                if other != number:
                    raise ConfigError(
                        f"resources '{sharer}' and '{name}': both read '{feed}', whose cursor can"
                        " be in one place only, and their settings give each an op of its own, of"
                        " which the second would miss rows. Give both the same settings."
                    )


def _make_source(schema: str, resources: Sequence["DltResource"]) -> "DltSource":
    import dlt

    # dlt takes identifiers alone as names of sources.
    @dlt.source(name=schema if schema.isidentifier() else lower_identifier(schema, prefix="schema"))
    def source() -> Any:
        return list(resources)

    made = source()
    # The source holds copies, in which transformers still share their feeds. The caller's resources
    # stay unchanged, because they may be in another list, too.
    for resource in made.resources.values():
        if not resource.table_name or resource.table_name == resource.name:
            resource.apply_hints(table_name=split_name(resource)[1])
    return made
