"""Find the loads whose schema files `loadsmith schema` writes, in a project of either layout."""

import contextlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from loadsmith.cli.locate import find_config_folder, find_dg_project
from loadsmith.cli.output import hide_secrets_of
from loadsmith.cli.sampling import ScratchLoad, choose_of, scratch_load, scratch_load_of
from loadsmith.config.files import read_project
from loadsmith.config.models import DltAsset
from loadsmith.config.project_files import Located, ProjectFiles
from loadsmith.errors import ConfigError, SchemaFileNotFound, SelectionError, did_you_mean
from loadsmith.model import LoadDefinition


@dataclass(frozen=True, kw_only=True)
class SchemaLoad:
    """A load that has a schema file.

    Attributes:
        open: Prepares a load of a few rows; takes `rows`, `partition` and `run_id`.
    """

    definition: LoadDefinition
    open: Callable[..., AbstractContextManager[ScratchLoad]]


def find_schema_loads(
    path: str | None, pattern: str | None, *, check: bool, as_json: bool
) -> tuple[list[SchemaLoad], Path, bool]:
    """Find the loads of the assets that match a pattern, and ask what has no schema file.

    Args:
        path: The folder, or None for the one where the command runs.
        pattern: A key or a pattern; None for all. Only then the sources of components that have no
            schema file are asked.
        check: Write nothing.
        as_json: Leave standard output alone.

    Returns:
        The loads, the folder that their files are shown from, and whether what the sources without
        a schema file have is new.

    Raises:
        SelectionError: There is no such asset.
        ConfigError: An asset names no schema file.
    """
    root = find_dg_project(path)
    if root is None:
        files = read_project(find_config_folder(path))
        found = [
            SchemaLoad(definition=load, open=partial(scratch_load, load, files))
            for load in choose_loads(files, pattern or "*")
        ]
        return found, Path(files.base_path), False
    from loadsmith.cli.dg_project import refresh_project

    is_new: bool | None = None
    if pattern is None:
        with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
            is_new = refresh_project(root, check=check)
    loads = _loads_of_components(root, pattern)
    if not loads and is_new is None:
        raise ConfigError(
            f"{root}: no load of this project has a schema file, or has to be asked for its tables."
            " Add `schema_file_path` or `snapshot_path` to one that has."
        )
    return loads, root, bool(is_new)


def choose_loads(files: ProjectFiles, pattern: str) -> list[LoadDefinition]:
    """Return the loads of the dlt assets that match a pattern, merged as in a run.

    Raises:
        SelectionError: There is no such asset.
        ConfigError: An asset names no schema file.
    """
    from loadsmith.resolve import merge_definitions, resolve_asset

    assets = _dlt_assets(files)
    chosen = [
        located
        for key, located in assets.items()
        # The key of a nested table selects its resource.
        if fnmatchcase(key, pattern) or pattern.startswith(f"{key}__")
    ]
    if pattern == "*":
        # A load that names its resources needs no schema file.
        chosen = [each for each in chosen if each.value.params.schema_file_path] or chosen
    if not chosen:
        others = "" if assets else " This project has no dlt asset."
        raise SelectionError(
            f"{pattern}: there is no such dlt asset.{did_you_mean(pattern, assets)}{others}"
        )
    problems = [
        located.problem(
            "there is no `schema_file_path` to write to. Add one, such as "
            f"`schema_file_path: schemas/export/{located.value.asset_key.split('/')[0]}"
            ".schema.yaml`.",
            "params",
            at_key=True,
        )
        for located in chosen
        if not located.value.params.schema_file_path
    ]
    if problems:
        raise ConfigError(problems)
    merged = merge_definitions(resolve_asset(located, files) for located in chosen)
    return [group.definition for group in merged]


def _dlt_assets(files: ProjectFiles) -> dict[str, Located[DltAsset]]:
    return {located.value.asset_key: located for located in files.dlt_assets}


def _loads_of_components(root: Path, pattern: str | None) -> list[SchemaLoad]:
    """Return the loads of components that match a pattern and have a schema file.

    Raises:
        SelectionError: There is none.
    """
    from loadsmith.cli.dg_project import find_components

    loads = [
        load
        for component in find_components(root)
        for load in component.resolved_loads
        if load.definition.schema_file_path
    ]
    hide_secrets_of(load.definition for load in loads)
    known = _keys_by_place(root) if loads and pattern else {}
    chosen, names = [], set()
    for load in loads:
        definition = load.definition
        # Without the file, what is known of the keys of the assets is the dataset before them.
        keys = known.get(definition.place) or [f"{load.key_prefix}/*"]
        names |= {definition.name, *keys}
        if pattern is None or any(
            fnmatchcase(name, pattern) or fnmatchcase(pattern, name)
            for name in (definition.name, *keys)
        ):
            opens = partial(_open, definition, load.spec.partitions_def)
            chosen.append(SchemaLoad(definition=definition, open=opens))
    if pattern is not None and not chosen:
        raise SelectionError(
            f"{pattern}: no load with a `schema_file_path` brings such an asset."
            f"{did_you_mean(pattern, names)} --all also asks the sources of the other loads."
        )
    return chosen


def _keys_by_place(root: Path) -> dict[str | None, list[str]]:
    """Return the keys of the assets by the place of their load; none where a file is missing."""
    from loadsmith.cli.dg_project import build_project
    from loadsmith.cli.projects import Project

    try:
        project = Project(root=root, definitions=build_project(root))
    except SchemaFileNotFound:
        return {}
    found: dict[str | None, list[str]] = {}
    for asset in project.assets.values():
        found.setdefault(asset.load.place, []).append(asset.key)
    return found


def _open(
    definition: LoadDefinition,
    partitions_def: Any,
    *,
    rows: int,
    partition: str | None,
    run_id: str,
) -> AbstractContextManager[ScratchLoad]:
    key, window = choose_of(partitions_def, partition, definition.name)
    return scratch_load_of(definition, {}, rows=rows, key=key, window=window, run_id=run_id)
