"""Resolve the dlt assets of a project to loads, and give their tables asset keys."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from loadsmith.assets.define import DagsterDltTranslator, key_part, nested_key
from loadsmith.config.models import Asset, DltAsset, TaskAsset
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.engine.snapshots import inspect_load
from loadsmith.errors import ConfigError, Problem, ResolveError, SchemaFileNotFound
from loadsmith.model import (
    LoadDefinition,
    LoadSnapshot,
    ResourceSelection,
    ResourceSnapshot,
    TableSnapshot,
)
from loadsmith.project.source_files import source_problem
from loadsmith.resolve import merge_definitions, resolve_asset


@dataclass(frozen=True, kw_only=True)
class ProjectLoad:
    """A load of a project, which one op or several run.

    Attributes:
        definition: The load, with all resources of its entries.
        snapshot: Its known resources and tables.
        entries: The entry of the workflow files that each resource comes from, by resource.
    """

    definition: LoadDefinition
    snapshot: LoadSnapshot
    entries: Mapping[str, Located[DltAsset]]

    def key_for(self, resource: ResourceSnapshot, table: TableSnapshot | None) -> dg.AssetKey:
        """Return `<asset key prefix>/<table>`, the key of the asset of a root table."""
        name = table.name if table else resource.table_name or resource.name
        return dg.AssetKey([*_prefix_of(self.entries[resource.name]), key_part(name)])

    def deps_for(self, resource: ResourceSnapshot) -> tuple[dg.AssetKey, ...]:
        """Return the prefix of the asset key, which stands for the system of the data."""
        return (dg.AssetKey(_prefix_of(self.entries[resource.name])),)

    def keys_of(self, resource: ResourceSnapshot) -> list[tuple[dg.AssetKey, bool]]:
        """Return the keys of a resource's assets, and whether each is that of a root table."""
        if not resource.root_tables:
            return [(self.key_for(resource, None), True)]
        names = {table.name: table for table in resource.tables}
        keys = []
        for table in resource.tables:
            root = table
            while root.parent is not None:
                root = names[root.parent]
            key = self.key_for(resource, root)
            is_root = root is table
            keys.append((key if is_root else nested_key(key, root.name, table.name), is_root))
        return keys

    @property
    def upstream_keys(self) -> set[dg.AssetKey]:
        """The prefixes of the entries' asset keys."""
        return {dg.AssetKey(_prefix_of(entry)) for entry in self.entries.values()}


@dataclass(frozen=True, kw_only=True)
class ProjectLoads:
    """All loads of a project and their asset keys.

    Attributes:
        aliases: Root tables by the key of an entry without a table of that name. An asset that
            depends on such an entry depends on these tables.
        entry_of: The entry of each key of a table.
    """

    loads: tuple[ProjectLoad, ...] = ()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    entry_of: Mapping[str, Located[DltAsset]] = field(default_factory=dict)

    def names_of(self, key: str) -> tuple[str, ...]:
        """Return the keys that `key` stands for: itself, or the tables of such an entry."""
        return self.aliases.get(key, (key,))


class ProjectTranslator(DagsterDltTranslator):
    """Links the assets of a project to their lines in the workflow file."""

    def __init__(self, load: ProjectLoad, root: str) -> None:
        self._load = load
        self._root = root

    def get_metadata(self, resource: Any) -> Mapping[str, Any]:
        """Return the place of the entry, as Dagster's link to the code."""
        return code_reference(self._load.entries[resource.name], self._root)


def code_reference(entry: Located[Any], root: str) -> dict[str, Any]:
    """Return metadata that links an asset to its lines in the workflow file."""
    file, line, _ = entry.place.rsplit(":", 2)
    with warnings.catch_warnings():
        # Dagster warns that code references are beta, which users cannot change.
        warnings.simplefilter("ignore")
        reference = dg.LocalFileCodeReference(
            file_path=f"{root}/{file}", line_number=int(line), label=f"{file}:{line}"
        )
        value = dg.CodeReferencesMetadataValue(code_references=[reference])
    return {"dagster/code_references": value}


def inspect_project(
    files: ProjectFiles, skipped: dict[str, Problem] | None = None
) -> tuple[ProjectLoads, list[Problem]]:
    """Resolve the dlt assets of a project and look up their tables.

    Args:
        files: The files of the project.
        skipped: Takes the problem of each asset whose schema file is missing, by key, instead of
            the problems that are returned.

    Returns:
        The loads, and the problems of their schema files and profiles.
    """
    problems: list[Problem] = []
    entries: dict[int, Located[DltAsset]] = {}
    definitions: list[LoadDefinition] = []
    seen: dict[str, str | None] = {}
    for asset in files.dlt_assets:
        mistakes = list(_problems_of(asset, files, seen))
        if mistakes:
            problems += mistakes
            continue
        try:
            definition = resolve_asset(asset, files)
        except ConfigError as error:
            problems.append(asset.problem(_without_place(str(error), asset.place), "params"))
            continue
        entries[id(definition)] = asset
        definitions.append(definition)
    loads = []
    for group in merge_definitions(definitions):
        first = entries[id(group.members[0])]
        try:
            # Asking the source would need its variables and secrets.
            snapshot = inspect_load(group.definition, may_ask_source=False)
        except SchemaFileNotFound as error:
            problem = first.problem(str(error), "params", "schema_file_path")
            if skipped is None:
                problems.append(problem)
            else:
                keys = [entries[id(member)].value.asset_key for member in group.members]
                skipped.update(dict.fromkeys(keys, problem))
            continue
        except ResolveError as error:
            problems.append(first.problem(str(error), "params"))
            continue
        if not snapshot.resources:
            message = "no resource is chosen here. Name those to load."
            problems.append(first.problem(message, "params", "resources"))
            continue
        loads.append(
            ProjectLoad(
                definition=group.definition,
                snapshot=snapshot,
                entries={
                    resource.name: entries[id(member)]
                    for member, resource in _owners(group.members, snapshot)
                },
            )
        )
    found_loads, more = _with_keys(loads)
    return found_loads, [*problems, *more]


def _problems_of(
    asset: Located[DltAsset], files: ProjectFiles, seen: dict[str, str | None]
) -> Iterable[Problem]:
    """Yield the problems of an entry's module and patterns; `seen` caches those of modules."""
    params = asset.value.params
    module = params.source_module
    if module not in seen:
        seen[module] = source_problem(module, files.project_dir)
    missing = seen[module]
    if missing:
        yield asset.problem(missing, "params", "source_module")
    names = params.resources
    is_plain = ResourceSelection(include=names or (), exclude=params.exclude).is_plain
    if params.schema_file_path is None and not is_plain:
        yield asset.problem(
            "which resources these patterns mean is not known without a schema file. Add "
            f"`schema_file_path` and run `loadsmith schema {asset.value.asset_key}`, or name the "
            "resources one by one.",
            "params",
            "resources" if names else "exclude",
        )


def tasks_of(assets: Iterable[Located[Asset]]) -> Iterable[Located[TaskAsset]]:
    """Yield the entries that are tasks."""
    for asset in assets:
        value = asset.value
        if isinstance(value, TaskAsset):
            yield Located(value, asset.document, asset.path)


def _owners(
    members: Sequence[LoadDefinition], snapshot: LoadSnapshot
) -> Iterable[tuple[LoadDefinition, ResourceSnapshot]]:
    if len(members) == 1:
        for resource in snapshot.resources:
            yield members[0], resource
        return
    # Merged definitions name their resources one by one.
    by_name = {name: member for member in members for name in member.resources.include}
    for resource in snapshot.resources:
        yield by_name[resource.name], resource


def _with_keys(loads: Sequence[ProjectLoad]) -> tuple[ProjectLoads, list[Problem]]:
    problems: list[Problem] = []
    entry_of: dict[str, Located[DltAsset]] = {}
    roots: dict[str, list[str]] = {}
    for load in loads:
        for resource in load.snapshot.resources:
            entry = load.entries[resource.name]
            for key, is_root in load.keys_of(resource):
                name = key.to_user_string()
                if name in entry_of:
                    problems.append(_made_twice(name, entry, entry_of[name]))
                    continue
                entry_of[name] = entry
                if is_root:
                    roots.setdefault(entry.value.asset_key, []).append(name)
    aliases = {key: tuple(names) for key, names in roots.items() if key not in entry_of}
    if aliases:
        loads = [_with_real_deps(load, aliases) for load in loads]
    project_loads = ProjectLoads(loads=tuple(loads), aliases=aliases, entry_of=entry_of)
    return project_loads, problems


def _made_twice(key: str, entry: Located[DltAsset], other: Located[DltAsset]) -> Problem:
    message = (
        f"the table '{key}' is made by '{other.value.asset_key}', too, see {other.place}. Give one "
        "of them another prefix."
    )
    return entry.problem(message, "asset_key")


def _with_real_deps(load: ProjectLoad, aliases: Mapping[str, tuple[str, ...]]) -> ProjectLoad:
    """Replace dependencies on aliases by the tables that they stand for."""

    def real(deps: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for dep in deps for name in aliases.get(dep, (dep,)))

    definition = load.definition
    return replace(
        load,
        definition=replace(
            definition,
            attributes=replace(definition.attributes, deps=real(definition.attributes.deps)),
            resource_attributes={
                name: replace(own, deps=real(own.deps))
                for name, own in definition.resource_attributes.items()
            },
        ),
    )


def _prefix_of(entry: Located[DltAsset]) -> list[str]:
    return entry.value.asset_key.split("/")[:-1]


def _without_place(message: str, place: str) -> str:
    return message.removeprefix(f"{place}: ")
