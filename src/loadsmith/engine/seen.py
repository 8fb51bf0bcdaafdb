"""What runs have seen of a load: written after a run, read when the load is defined again.

A source that nobody may import, or whose nested tables nobody can know, has told a run all that:
docstrings, what feeds what, columns and keys. It is kept beside the working directories of the
load, so that it is there where runs and definitions share a disk, and only fills up what
definitions show. Which assets there are in files, and which op loads them, never depends on it.
"""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadsmith.engine.schema_file import write_whole
from loadsmith.model import (
    LoadDefinition,
    LoadResult,
    LoadSnapshot,
    ResourceSnapshot,
    SourceReference,
    TableSnapshot,
)

if TYPE_CHECKING:
    from dlt.extract import DltSource

_LOG = logging.getLogger("loadsmith")

_OWN_FOLDER = ".loadsmith"


def default_pipelines_dir() -> str:
    """Return dlt's folder of working directories, without importing dlt for it."""
    if "dlt" in sys.modules:
        from dlt.common.pipeline import get_dlt_pipelines_dir

        return get_dlt_pipelines_dir()
    data_dir = os.environ.get("DLT_DATA_DIR")
    if data_dir is None and hasattr(os, "geteuid") and os.geteuid() == 0:
        data_dir = "/var/dlt"
    if data_dir is None:
        home = Path.home()
        if not os.access(home, os.W_OK):
            data_dir = str(Path(tempfile.gettempdir()) / "dlt")
        elif "XDG_DATA_HOME" in os.environ and not (home / ".dlt").is_dir():
            data_dir = str(Path(os.environ["XDG_DATA_HOME"]) / "dlt")
        else:
            data_dir = str(home / ".dlt")
    return str(Path(data_dir) / "pipelines")


def with_seen(
    snapshot: LoadSnapshot, source: Any, *, pipeline_name: str | None, pipelines_dir: str | None
) -> LoadSnapshot:
    """Return a snapshot with what earlier runs have seen of its resources, where they did.

    Args:
        snapshot: What is known without it.
        source: The source of the definition: a reference is told from others by its module, all
            else by the name of the dlt source.
        pipeline_name: Name of the pipeline.
        pipelines_dir: Folder of its working directory; dlt's own where None.
    """
    if pipeline_name is None:
        return snapshot
    folder = _folder(pipelines_dir or default_pipelines_dir(), pipeline_name)
    seen: dict[str, ResourceSnapshot] = {}
    for stored in _read_all(folder):
        known_by = stored.pop("known_by", None)
        if known_by == _known_by(source, snapshot.source_name):
            found = LoadSnapshot.from_dict(stored)
            seen.update({resource.name: resource for resource in found.resources})
    if not seen:
        return snapshot
    return replace(
        snapshot,
        resources=tuple(
            replace(resource, seen=seen.get(resource.name)) for resource in snapshot.resources
        ),
    )


def write_seen(
    definition: LoadDefinition,
    result: LoadResult,
    source: "DltSource",
    *,
    redact: Callable[[Any], Any],
    warn: Callable[[str], object],
) -> None:
    """Keep what a run has seen of its resources; those of earlier runs that it had not stay.

    Where that cannot be done, it is a warning: the load is done.

    Args:
        definition: The load.
        result: What the run did.
        source: The source of the run.
        redact: Takes secrets out of plain data.
        warn: Takes a warning.
    """
    try:
        _write(definition, result, source, redact)
    except Exception as error:  # noqa: BLE001 - what comes after a load never fails it
        warn(
            f"load '{definition.name}': what the run has seen could not be kept for definitions"
            f" ({type(error).__name__})"
        )


def _write(
    definition: LoadDefinition,
    result: LoadResult,
    source: "DltSource",
    redact: Callable[[Any], Any],
) -> None:
    from loadsmith.engine.inspect import inspect_resource

    if result.working_dir is None:
        return
    tables: dict[str, list[TableSnapshot]] = {}
    for table in result.tables:
        of_resource = tables.setdefault(table.resource, [])
        if not table.columns:
            continue
        of_resource.append(
            TableSnapshot(
                name=table.name,
                resource=table.resource,
                parent=table.parent,
                columns=table.columns,
                description=table.description,
            )
        )
    failed = {failure.resource for failure in result.failures}
    resources = {
        name: replace(inspect_resource(source.resources[name], source), tables=tuple(found))
        for name, found in tables.items()
        if name in source.resources and name not in failed
    }
    if not resources:
        return
    home = _home_of(result.working_dir)
    path = _folder(str(home), result.pipeline_name) / f"{definition.name}.json"
    known_by = _known_by(definition.source, source.name)
    before = _read(path)
    if before and before.get("known_by") == known_by:
        for other in LoadSnapshot.from_dict(_without(before, "known_by")).resources:
            resources.setdefault(other.name, other)
    snapshot = LoadSnapshot(
        source_name=source.name,
        resources=tuple(resources[name] for name in sorted(resources)),
        origin="stored",
        pipeline_name=result.pipeline_name,
        dataset_name=result.dataset_name,
        destination_name=result.destination_name,
    )
    stored = {"known_by": known_by, **redact(snapshot.to_dict())}
    text = json.dumps(stored, ensure_ascii=False)
    if before != json.loads(text):
        write_whole(str(path), text)


def _known_by(source: Any, source_name: str) -> str:
    return source.module if isinstance(source, SourceReference) else source_name


def _folder(pipelines_dir: str, pipeline_name: str) -> Path:
    return Path(pipelines_dir) / _OWN_FOLDER / ".seen" / pipeline_name


def _home_of(working_dir: str) -> Path:
    """Return the folder of working directories, from one of a partition or of a part, too."""
    parts = Path(working_dir).parts
    if _OWN_FOLDER in parts:
        return Path(*parts[: len(parts) - 1 - parts[::-1].index(_OWN_FOLDER)])
    return Path(working_dir).parent


def _read_all(folder: Path) -> list[dict[str, Any]]:
    try:
        paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    except OSError:
        # A folder that is going away while it is looked at has nothing to tell.
        return []
    return [dict(found) for path in paths if (found := _read(path)) is not None]


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return what a file holds, or None where it is not there or damaged: the next run heals it."""
    try:
        found = json.loads(path.read_text("utf-8"))
        LoadSnapshot.from_dict(_without(found, "known_by"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning(
            "%s: what runs have seen cannot be read (%s). It is left out until the next run.",
            path,
            type(error).__name__,
        )
        return None
    return dict(found)


def _without(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != name}
