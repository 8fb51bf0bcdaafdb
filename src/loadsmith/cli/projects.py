"""Open the project of a command, whichever layout it has, with the load of each asset."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadsmith.cli.home import find_home
from loadsmith.cli.locate import find_config_folder, find_dg_project
from loadsmith.cli.output import hide_secrets_of
from loadsmith.errors import Problem, SelectionError, did_you_mean
from loadsmith.model import LoadDefinition, RunRequest, SourceReference

if TYPE_CHECKING:
    import dagster as dg

    from loadsmith.config.project_files import ProjectFiles


@dataclass(frozen=True, kw_only=True)
class LoadedAsset:
    """An asset, and the load that brings it.

    Attributes:
        load: The load, or the part of it that the op of the asset runs.
        table: Its table, where that is known; None stands for all that the resource brings.
    """

    key: str
    load: LoadDefinition
    resource: str
    table: str | None

    @property
    def asset_key(self) -> "dg.AssetKey":
        """The key as Dagster has it."""
        import dagster as dg

        return dg.AssetKey.from_user_string(self.key)


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project, opened.

    Attributes:
        root: The folder of its files, or the root of a project of Dagster's `dg`.
        files: The files of a YAML project; None for a project of `dg`.
        skipped: The problem of each asset of the files that is not defined, by key.
    """

    root: Path
    definitions: "dg.Definitions" = field(repr=False)
    files: "ProjectFiles | None" = field(default=None, repr=False)
    skipped: "Mapping[str, Problem]" = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The folder that relative paths of the project start from."""
        return Path(self.files.base_path) if self.files else self.root

    @property
    def home(self) -> Path | None:
        """The folder in which Dagster keeps the runs; None where they are not kept."""
        return find_home(self.base)

    @cached_property
    def assets(self) -> Mapping[str, LoadedAsset]:
        """The assets that loads bring, by key, sorted."""
        from loadsmith.assets.define import targets_of
        from loadsmith.assets.run import load_of

        found: dict[str, LoadedAsset] = {}
        graph = self.definitions.resolve_asset_graph()
        for assets in dict.fromkeys(graph.assets_defs):
            load = load_of(assets)
            if load is None:
                continue
            for key, target in targets_of(assets.metadata_by_key).items():
                name = key.to_user_string()
                found[name] = LoadedAsset(
                    key=name, load=load, resource=target.resource, table=target.table
                )
        return dict(sorted(found.items()))

    @property
    def loads_of_ops(self) -> list[tuple[LoadDefinition, list[LoadedAsset]]]:
        """The loads, each as an op runs it, with the assets that it brings."""
        by_op: dict[int, list[LoadedAsset]] = {}
        for asset in self.assets.values():
            by_op.setdefault(id(asset.load), []).append(asset)
        return [(assets[0].load, assets) for assets in by_op.values()]

    @property
    def loads(self) -> list[LoadDefinition]:
        """The loads, those that several ops run once, as a run of one of the ops has it."""
        by_name = {
            asset.load.whole or asset.load.name: asset.load for asset in self.assets.values()
        }
        return list(by_name.values())

    def asset(self, key: str) -> LoadedAsset:
        """Return the asset of a key.

        Raises:
            SelectionError: There is no such asset, or no load brings it.
        """
        if key in self.assets:
            return self.assets[key]
        graph = self.definitions.resolve_asset_graph()
        if key in {other.to_user_string() for other in graph.materializable_asset_keys}:
            raise SelectionError(f"{key}: no load of loadsmith brings this asset.")
        raise SelectionError(
            f"{key}: there is no such asset.{did_you_mean(key, self.assets)} "
            "`loadsmith list` shows all of them."
        )

    def resource_params(self) -> dict[str, Mapping[str, Any]]:
        """Return the parameters of the project's resources, by kind, for `{{variables}}`."""
        entries = self.files.resources if self.files else ()
        return {entry.value.resource_kind: entry.value.params for entry in entries}

    def without_source(self, load: LoadDefinition, partition: str | None = None) -> LoadDefinition:
        """Return a load with the variables of its destination filled in; its source is not asked.

        Args:
            load: The load.
            partition: Value of `{{context.partition_key}}`, where a dataset is that of a partition.

        Raises:
            ResolveError: A variable is not known without a run.
        """
        from loadsmith.resolve import early_variables, render_definition, used_variables

        if isinstance(load.source, SourceReference):
            load = replace(load, source=replace(load.source, params={}))
        variables = early_variables(used_variables(load), self.resource_params())
        if partition is not None:
            variables["context.partition_key"] = partition
        return render_definition(load, variables)


def open_project(path: str | None, *, skips: bool = False) -> Project:
    """Open the project that a command is about, and hide its secrets from here on.

    Args:
        path: The folder, or None for the one where the command runs.
        skips: Leave out the loads whose schema file is missing, instead of an error.

    Raises:
        ConfigError: There is none, or its files have mistakes.
    """
    root = find_dg_project(path)
    if root is None:
        from loadsmith.config.files import read_project
        from loadsmith.project import build_definitions, build_runnable

        folder = find_config_folder(path)
        definitions, skipped = build_runnable(folder) if skips else (build_definitions(folder), {})
        project = Project(
            root=Path(folder),
            definitions=definitions,
            files=read_project(folder),
            skipped=skipped,
        )
    else:
        from loadsmith.cli.dg_project import build_project

        project = Project(root=root, definitions=build_project(root))
    hide_secrets_of(project.loads)
    return project


def looking_request(run_id: str, partition: str | None = None) -> RunRequest:
    """Return the request of a command that looks; what is waited for is said on standard error."""
    return RunRequest(run_id=run_id, partition_key=partition, log=note, warn=note)


def note(line: str) -> None:
    """Say something on standard error."""
    click.echo(line, err=True)
