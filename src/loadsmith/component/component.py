"""`DltLoadCollectionComponent`: Dagster definitions from the loads of a `defs.yaml`."""

import asyncio
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import dagster as dg
from dagster.components import DefsStateConfig, DefsStateConfigArgs, ResolvedDefsStateConfig
from pydantic import BaseModel, Field

from loadsmith.assets.build import multi_asset_options_of
from loadsmith.assets.decorator import inside_load
from loadsmith.assets.define import (
    DagsterDltTranslator,
    DltResourceTranslatorData,
    build_specs,
    key_part,
    split_load,
)
from loadsmith.assets.freshness import build_freshness
from loadsmith.assets.links import link_loads
from loadsmith.assets.run import CurrentLoad, DagsterDltResource, mark_load
from loadsmith.assets.run_config import DltRunConfig
from loadsmith.component.definitions import ComponentLoad, resolve_loads
from loadsmith.component.discovery import (
    Known,
    SourceFailed,
    UnknownTables,
    asks_source,
    look_at,
    naming,
    problems_of,
    read_state,
    refresh,
    refuse_wrong_destination,
    warn_of_unknown_tables,
)
from loadsmith.component.load_spec import DltLoadSpecModel, Home
from loadsmith.component.models import LoadEntry, LoadSettings, without_string_alternative
from loadsmith.component.scaffold import DltLoadCollectionScaffolder
from loadsmith.component.templating import resolve_entry
from loadsmith.config.load_params import ProfileParams
from loadsmith.engine.snapshots import inspect_load
from loadsmith.errors import ConfigError
from loadsmith.model import SourceReference
from loadsmith.resolve import reload_warnings

_LOADS = "The loads: each a source into a dataset by a pipeline."
_DEFAULTS = "Settings of every load that does not say otherwise; mappings are merged key by key."
_PROFILES = (
    "What differs by deployment, for every load: settings by profile name. `LOADSMITH_PROFILE` "
    "chooses; without it the deployment's name does, and `dev` on a machine of one's own."
)
_DEFS_STATE = (
    "Where Dagster keeps what `dg utils refresh-defs-state` found out, for loads that have "
    "neither `schema_file_path` nor `snapshot_path`."
)


def _local_state() -> DefsStateConfigArgs:
    # By default Dagster would ask the sources whenever `dg dev` reloads.
    return DefsStateConfigArgs.local_filesystem().model_copy(update={"refresh_if_dev": False})


def _resolve_defaults(context: dg.ResolutionContext, model: LoadSettings) -> LoadSettings:
    return LoadSettings.model_validate(resolve_entry(context, model))


@dg.scaffold_with(DltLoadCollectionScaffolder)
@dataclass
class DltLoadCollectionComponent(dg.StateBackedComponent, dg.Resolvable):
    """dlt loads as Dagster assets, one for each table.

    A load is a source and a pipeline in Python, or is declared: `rest_api`, `sql_database`,
    `filesystem` or a source of yours, with a destination, and no Python at all.

    `get_asset_spec` and `execute` are made for overriding in a subclass.
    """

    loads: Annotated[Sequence[DltLoadSpecModel], dg.Resolver.default(description=_LOADS)]
    # Dagster inspects the annotations and does not support all of pydantic, hence `Any`.
    defaults: Annotated[
        Any,
        dg.Resolver(
            _resolve_defaults,
            model_field_type=LoadSettings,
            description=_DEFAULTS,
            inject_before_resolve=False,
        ),
    ] = field(default_factory=LoadSettings)
    profiles: Annotated[
        Any,
        dg.Resolver(
            lambda _context, profiles: profiles,
            model_field_type=dict[str, ProfileParams],
            description=_PROFILES,
            inject_before_resolve=False,
        ),
    ] = field(default_factory=dict)
    defs_state: Annotated[ResolvedDefsStateConfig, dg.Resolver.default(description=_DEFS_STATE)] = (
        field(default_factory=_local_state)
    )

    def __post_init__(self) -> None:
        self.defaults = LoadSettings.model_validate(self.defaults)
        self.profiles = {
            name: ProfileParams.model_validate(profile) for name, profile in self.profiles.items()
        }

    _loadsmith_model: ClassVar[type[BaseModel] | None] = None

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of `attributes`, which lets Dagster show a mistake at its line."""
        known: type[BaseModel] | None = cls.__dict__.get("_loadsmith_model")
        if known is None:
            known = without_string_alternative(
                super().model(),
                loads=(list[LoadEntry], Field(description=_LOADS)),
                defaults=(
                    LoadSettings,
                    Field(default_factory=LoadSettings, description=_DEFAULTS),
                ),
                profiles=(
                    dict[str, ProfileParams],
                    Field(default_factory=dict, description=_PROFILES),
                ),
            )
            cls._loadsmith_model = known
        return known

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how Dagster lists the component."""
        return dg.ComponentTypeSpec(tags=["dlt", "loadsmith"], produces=["asset", "asset_check"])

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Any:
        """Make the component of a `defs.yaml`."""
        # StateBackedComponent.load would register a state even if the component needs none.
        component = super(dg.StateBackedComponent, cls).load(attributes, context)
        component._home = Home.of(context)
        if component._asks_sources():
            context.component_tree.mark_component_defs_state_key(
                defs_state_key=component.defs_state_config.key, loc=context.component_loc
            )
        return component

    @property
    def dlt_pipeline_resource(self) -> DagsterDltResource:
        """The resource that `execute` runs loads with; override it to pass your own."""
        return DagsterDltResource()

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        """Build the spec of the asset of one resource.

        Made for overriding: call `super().get_asset_spec(data)` and change what it gives.
        `data.resource` and `data.pipeline` are dlt's live objects, or have the same attributes.
        The key of the asset is `<dataset>/<table>`. It is in the spec of a declared load alone; a
        load in Python gets it afterwards, as in dagster-dlt. The load's `translation` comes last.
        """
        spec = DagsterDltTranslator().get_asset_spec(data)
        return spec.replace_attributes(key=self._key_of(data)) if _is_declared(data) else spec

    def _key_of(self, data: DltResourceTranslatorData) -> dg.AssetKey:
        table = getattr(data.resource, "table_name", None)
        # A function that chooses the table for each row cannot name an asset.
        name = table if isinstance(table, str) else data.resource.name
        prefix = getattr(data.pipeline, "dataset_name", None)
        if data.definition is not None:
            prefix = self._key_prefixes.get(data.definition.name, prefix)
            sent_to = data.definition.options.params.get("table_name")
            if sent_to and data.snapshot is not None and data.snapshot.table_name == sent_to:
                name = sent_to
        return dg.AssetKey([key_part(part) for part in (prefix, name) if part])

    def execute(
        self, context: dg.AssetExecutionContext, dlt_pipeline_resource: DagsterDltResource
    ) -> Iterator[Any]:
        """Load the selected assets and yield Dagster's events.

        Made for overriding: do something before and after `yield from super().execute(...)`, or
        give arguments of dlt's `run` to `dlt_pipeline_resource.run(context=context, ...)`.
        """
        yield from dlt_pipeline_resource.run(context=context)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the assets and checks of all loads."""
        self._home = Home.of(context)
        if not self._asks_sources():
            return self.build_defs_from_state(context, None)
        return super().build_defs(context)

    def build_defs_from_state(
        self, context: dg.ComponentLoadContext, state_path: Path | None
    ) -> dg.Definitions:
        """Build the definitions from the state of the last refresh."""
        state = read_state(state_path)
        self._failed_calls.clear()
        assets: list[dg.AssetsDefinition] = []
        checks: list[dg.AssetChecksDefinition] = []
        sensors: list[dg.SensorDefinition] = []
        specs: list[dg.AssetSpec] = []
        unknown: list[ComponentLoad] = []
        for load in self.resolved_loads:
            with naming(load):
                try:
                    known = look_at(load, state)
                except SourceFailed as error:
                    self._failed_calls.append(str(error))
                    warnings.warn(str(error), UnknownTables, stacklevel=2)
                    continue
                refuse_wrong_destination(load, known)
                if known is None:
                    unknown.append(load)
                    continue
                built = self._specs_of(load, known)
                _refuse_shared_keys(load, built, specs)
                specs += built
                for definition, part in split_load(load.definition, built, known.snapshot):
                    assets.append(self._build_assets(load, definition, part))
                freshness = build_freshness(load.definition, built)
                checks += freshness[0]
                sensors += freshness[1]
        warn_of_unknown_tables(unknown)
        return dg.Definitions(assets=link_loads(assets), asset_checks=checks, sensors=sensors)

    @property
    def defs_state_config(self) -> DefsStateConfig:
        """Where Dagster keeps the state, and under which key."""
        label = self._where().label or "loads"
        return DefsStateConfig.from_args(
            self.defs_state, default_key=f"DltLoadCollectionComponent[{label}]"
        )

    async def refresh_state(self, project_root: Path) -> str:
        """Ask the sources whose tables are not known otherwise, and store the answers.

        Loads with a `snapshot_path` are written to that file. Dagster's state is only touched
        where a load has none.
        """
        if self._asks_sources():
            return await super().refresh_state(project_root)
        await asyncio.to_thread(refresh, self.resolved_loads, None)
        return "files"

    def problems(self, *, deep: bool) -> Iterator[str]:
        """Yield the problems of the destinations and, if deep, of the declared sources."""
        yield from self._failed_calls
        for load in self.resolved_loads:
            yield from problems_of(load, deep=deep)

    def warnings(self) -> Iterator[str]:
        """Yield what loading partitions again may surprise with, as far as files tell."""
        partitioned = (load for load in self.resolved_loads if load.spec.partitions_def)
        for load in partitioned:
            known = inspect_load(load.definition) if load.definition.schema_file_path else None
            for warning in reload_warnings(load.definition, known):
                yield f"{load.spec.described}: {warning}"

    def has_news(self) -> bool:
        """Ask the sources of the loads with a `snapshot_path`; return whether a file is outdated.

        Shows what changed, and writes nothing.
        """
        loads = [load for load in self.resolved_loads if load.definition.snapshot_path]
        return refresh(loads, None, write=False)

    def write_state_to_path(self, state_path: Path) -> None:
        """Ask the sources and write their answers."""
        refresh(self.resolved_loads, state_path)

    def _where(self) -> Home:
        home: Home | None = getattr(self, "_home", None)
        return home or Home(folder=Path.cwd(), project_root=Path.cwd())

    def _asks_sources(self) -> bool:
        return any(
            asks_source(load) and load.definition.snapshot_path is None
            for load in self.resolved_loads
        )

    @property
    def resolved_loads(self) -> Sequence[ComponentLoad]:
        """The loads as definitions, resolved once for each home of the component."""
        home = self._where()
        known: tuple[Home, list[ComponentLoad]] | None = getattr(self, "_known_loads", None)
        if known is None or known[0] != home:
            known = (home, self._resolve_loads(home))
            self._known_loads = known
        return known[1]

    def _resolve_loads(self, home: Home) -> list[ComponentLoad]:
        defaults = self.defaults
        if self.profiles:
            profiles = {**self.profiles, **defaults.profiles}
            defaults = defaults.model_copy(update={"profiles": profiles})
        return resolve_loads(self.loads, defaults, home)

    @property
    def _failed_calls(self) -> list[str]:
        failed: list[str] = self.__dict__.setdefault("_failed", [])
        return failed

    @property
    def _key_prefixes(self) -> dict[str, str | None]:
        prefixes: dict[str, str | None] = self.__dict__.setdefault("_prefixes", {})
        return prefixes

    def _specs_of(self, load: ComponentLoad, known: Known) -> list[dg.AssetSpec]:
        self._key_prefixes[load.definition.name] = load.key_prefix
        return build_specs(
            known.snapshot,
            DltComponentTranslator(self, load.spec),
            load.definition,
            live=known.live,
            pipeline=load.live_pipeline,
        )

    def _build_assets(
        self, load: ComponentLoad, definition: Any, specs: Sequence[dg.AssetSpec]
    ) -> dg.AssetsDefinition:
        given = load.spec.multi_asset_options
        options = multi_asset_options_of(
            definition,
            specs,
            {
                "config_schema": DltRunConfig.to_fields_dict(),
                **given,
                "name": load.op_name_of(definition),
                "partitions_def": load.spec.partitions_def,
                "backfill_policy": load.spec.backfill_policy,
            },
        )
        current = CurrentLoad(
            definition=definition, config_is_ours=given.get("config_schema") is None
        )

        def run(context: dg.AssetExecutionContext, **_inputs: Any) -> Iterable[Any]:
            yield from inside_load(current, self.execute)(context, self.dlt_pipeline_resource)

        mark_load(run, definition)
        return dg.multi_asset(**options)(run)


class DltComponentTranslator(DagsterDltTranslator):
    """Applies a component's `get_asset_spec`, its keys, and the `translation` of a load.

    For a subclass of the component that calls `dlt_assets` itself.

    Args:
        component: The component.
        load_spec: One of its `loads`.
    """

    def __init__(self, component: DltLoadCollectionComponent, load_spec: DltLoadSpecModel) -> None:
        self._component = component
        self._load_spec = load_spec

    def get_asset_spec(self, data: DltResourceTranslatorData) -> dg.AssetSpec:
        """Build the spec of one resource."""
        spec = self._component.get_asset_spec(data)
        if not _is_declared(data):
            spec = spec.replace_attributes(key=self._component._key_of(data))
        translation = self._load_spec.translation
        return translation(spec, data) if translation else spec


def _is_declared(data: DltResourceTranslatorData) -> bool:
    return data.definition is not None and isinstance(data.definition.source, SourceReference)


def _refuse_shared_keys(
    load: ComponentLoad, built: Iterable[dg.AssetSpec], before: Iterable[dg.AssetSpec]
) -> None:
    taken = {spec.key for spec in before}
    for spec in built:
        if spec.key in taken:
            raise ConfigError(
                f"{load.spec.described}: another load of this component makes the asset "
                f"'{spec.key.to_user_string()}', too. Choose other `resources`, another dataset, "
                "or set `translation: {key_prefix: ...}`."
            )


# Dagster writes the module into files and lists, so it is the one that users import from.
DltLoadCollectionComponent.__module__ = "loadsmith"
DltComponentTranslator.__module__ = "loadsmith"
DltLoadSpecModel.__module__ = "loadsmith"
