"""The root of a `dg` project in, the stored snapshots of all its components brought up to date."""

import asyncio
import os
import sys
from pathlib import Path

import dagster as dg
from dotenv import dotenv_values

from loadsmith.component.component import DltLoadCollectionComponent
from loadsmith.errors import ConfigError, LoadsmithError


def refresh_project(root: Path, *, check: bool = False) -> bool:
    """Ask the sources of all components of a project, and tell whether anything changed.

    Variables of the project's `.env` count as those of the environment do, as in `dg`.

    Args:
        root: The root of the project.
        check: Write nothing.

    Raises:
        LoadsmithError: A `defs.yaml` is wrong, or a source could not be asked.
        ConfigError: The project has no component whose source has to be asked.
    """
    for name, value in dotenv_values(root / ".env").items():
        os.environ.setdefault(name, value or "")
    source_folder = str(root / "src")
    if Path(source_folder).is_dir() and source_folder not in sys.path:
        sys.path.insert(0, source_folder)
    try:
        tree = dg.ComponentTree.for_project(root)
        components = tree.get_all_components(of_type=DltLoadCollectionComponent)
    except dg.DagsterError as error:
        raise _as_ours(error, root) from error
    asking = [component for component in components if component.asked_loads]
    if not asking:
        raise ConfigError(
            f"{root}: no load of this project has to be asked for its tables. Add `snapshot_path` "
            "to one that has."
        )
    changed = False
    for component in asking:
        changed |= component.has_news() if check else asyncio.run(_refresh(component, root))
    return changed


async def _refresh(component: DltLoadCollectionComponent, root: Path) -> bool:
    await component.refresh_state(root)
    return True


def _as_ours(error: BaseException, root: Path) -> LoadsmithError:
    """Return the mistake of the user that Dagster's error is about."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LoadsmithError):
            return cause
        last, cause = cause, cause.__cause__ or cause.__context__
    return ConfigError(f"{root}: {last}")
