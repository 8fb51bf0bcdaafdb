"""Bound what working directories keep: packages that were loaded, and locks that nobody holds."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loadsmith.engine.dlt_hooks import moment_of_package
from loadsmith.engine.locks import remove_unheld
from loadsmith.engine.workspace.names import names_of
from loadsmith.engine.workspace.parts import parts_of
from loadsmith.model import LoadDefinition, RunRequest, slice_of

#: Loaded packages that stay in a working directory, for `dlt pipeline <name> info`.
KEPT_PACKAGES = 3

#: Lists in a working directory the packages that Dagster was told of and that are still there.
_NOTE = ".reported"


@dataclass(frozen=True)
class Removed:
    """What was removed from a folder of working directories."""

    folder: str
    packages: int
    bytes: int
    locks: int


def loaded_packages(working_dir: Path) -> list[Path]:
    """Return the folders of the packages that were loaded from a working directory, in order."""
    folder = working_dir / "load" / "loaded"
    if not folder.is_dir():
        return []
    return sorted(folder.iterdir(), key=lambda path: moment_of_package(path.name))


def drop_reported(working_dir: Path, load_ids: Iterable[str]) -> None:
    """Delete the packages that Dagster was told of, but for the newest ones.

    Packages that plain dlt or an earlier version has loaded stay; `clean_directories` removes them.
    """
    path = working_dir / _NOTE
    try:
        known = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        known = []
    reported = [*known, *(load_id for load_id in load_ids if load_id not in known)]
    gone = set(reported[:-KEPT_PACKAGES])
    for folder in loaded_packages(working_dir):
        if folder.name in gone:
            shutil.rmtree(folder, ignore_errors=True)
    path.write_text(json.dumps(reported[-KEPT_PACKAGES:]), encoding="utf-8")


def clean_directories(definitions: Iterable[LoadDefinition]) -> list[Removed]:
    """Remove what loads have left in their working directories and need no more.

    What is extracted or normalized and not loaded stays, and so do the newest packages.
    """
    directories: dict[Path, set[Path]] = {}
    for definition in definitions:
        request = RunRequest(run_id="clean")
        parts = parts_of(definition, request)
        home = Path(parts.pipelines_dir)
        found = directories.setdefault(home, set())
        found.add(names_of(slice_of(definition, request, parts.name), home).working_dir)
        # Partitions have folders of their own in that of the load.
        found.update((home / ".loadsmith" / definition.name).glob("*/*"))
    removed = []
    for home, working_dirs in directories.items():
        old = [
            package
            for path in sorted(working_dirs)
            for package in loaded_packages(path)[:-KEPT_PACKAGES]
        ]
        size = sum(file.stat().st_size for folder in old for file in folder.rglob("*"))
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)
        locks = remove_unheld((home / ".loadsmith").glob("*.lock"))
        removed.append(Removed(str(home), len(old), size, locks))
    return removed
