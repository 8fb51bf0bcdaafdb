"""Keep what a run saw of a load, and read it when the load is defined again.

Definitions may not import every source, and nobody knows nested tables before a run. A run sees
docstrings, columns, keys, nested tables, and which resource feeds which. They are kept beside the
working directories of the load, so definitions see them if they share a disk with the runs. They
add details only: which assets a load has, and which op loads them, never depends on them.
"""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadsmith.engine.schema_files import write_whole
from loadsmith.engine.snapshots.resource import inspect_resource
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


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What runs saw of one load.

    Attributes:
        known_by: Identifies the source; see `_known_by`.
        snapshot: The resources that runs saw.
    """

    known_by: str
    snapshot: LoadSnapshot


def with_seen(
    snapshot: LoadSnapshot, source: Any, *, pipeline_name: str | None, pipelines_dir: str | None
) -> LoadSnapshot:
    """Return a snapshot with what earlier runs saw of its resources, as `ResourceSnapshot.seen`.

    Args:
        snapshot: What is known without earlier runs.
        source: The source of the definition.
        pipeline_name: Name of the pipeline.
        pipelines_dir: Folder of its working directory; dlt's default folder if None.
    """
    if pipeline_name is None:
        return snapshot
    folder = _seen_folder(pipelines_dir or default_pipelines_dir(), pipeline_name)
    resources: dict[str, ResourceSnapshot] = {}
    for seen in _read_all(folder):
        if seen.known_by == _known_by(source, snapshot.source_name):
            resources.update({resource.name: resource for resource in seen.snapshot.resources})
    if not resources:
        return snapshot
    return replace(
        snapshot,
        resources=tuple(
            replace(resource, seen=resources.get(resource.name)) for resource in snapshot.resources
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
    """Keep what a run saw of its resources, beside what earlier runs saw of others.

    A failure is a warning, because the load is done.

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
    if result.working_dir is None:
        return
    tables: dict[str, list[TableSnapshot]] = {}
    for table in result.tables:
        of_resource = tables.setdefault(table.resource, [])
        if table.columns:
            of_resource.append(
                TableSnapshot(
                    name=table.name,
                    resource=table.resource,
                    parent=table.parent,
                    columns=table.columns,
                    description=table.description,
                    place=table.place,
                )
            )
    failed = {failure.resource for failure in result.failures}
    resources = {
        name: replace(
            inspect_resource(source.resources[name], source),
            tables=tuple(of_resource),
            inputs=result.inputs.get(name, ()),
        )
        for name, of_resource in tables.items()
        if name in source.resources and name not in failed
    }
    if not resources:
        return
    folder = _seen_folder(_pipelines_dir_of(result.working_dir), result.pipeline_name)
    path = folder / f"{definition.name}.json"
    known_by = _known_by(definition.source, source.name)
    before = _read(path)
    if before is not None and before.known_by == known_by:
        for other in before.snapshot.resources:
            now = resources.get(other.name, other)
            resources[other.name] = _with_places_of(other, now) if now is not other else other
    snapshot = LoadSnapshot(
        source_name=source.name,
        resources=tuple(resources[name] for name in sorted(resources)),
        origin="stored",
        pipeline_name=result.pipeline_name,
        dataset_name=result.dataset_name,
        destination_name=result.destination_name,
    )
    plain = redact(snapshot.to_dict())
    if Seen(known_by=known_by, snapshot=LoadSnapshot.from_dict(plain)) != before:
        stored = {"known_by": known_by, "snapshot": plain}
        write_whole(str(path), json.dumps(stored, ensure_ascii=False))


def _with_places_of(before: ResourceSnapshot, now: ResourceSnapshot) -> ResourceSnapshot:
    """Return a resource with the places seen before; a run without rows has none."""
    places = {table.name: table.place for table in before.tables}
    return replace(
        now,
        inputs=now.inputs or before.inputs,
        tables=tuple(
            replace(table, place=table.place or places.get(table.name)) for table in now.tables
        ),
    )


def _known_by(source: Any, source_name: str) -> str:
    """Return what identifies a source both in a definition and in a run.

    That is the module of a reference, and the name of the dlt source for anything else.
    """
    return source.module if isinstance(source, SourceReference) else source_name


def _seen_folder(pipelines_dir: str, pipeline_name: str) -> Path:
    """Return the folder with a file for each load of a pipeline."""
    return Path(pipelines_dir) / _OWN_FOLDER / ".seen" / pipeline_name


def _pipelines_dir_of(working_dir: str) -> str:
    """Return the folder of working directories; that of a partition or a part is deeper."""
    parts = Path(working_dir).parts
    if _OWN_FOLDER in parts:
        return str(Path(*parts[: len(parts) - 1 - parts[::-1].index(_OWN_FOLDER)]))
    return str(Path(working_dir).parent)


def default_pipelines_dir() -> str:
    """Return dlt's folder of working directories, without an import of dlt."""
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


def _read_all(folder: Path) -> list[Seen]:
    try:
        paths = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    except OSError:
        # Another process may delete the folder at this moment.
        return []
    return [seen for path in paths if (seen := _read(path)) is not None]


def _read(path: Path) -> Seen | None:
    """Return what a file holds; None if it is absent or damaged, until the next run writes it."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        return Seen(
            known_by=str(stored["known_by"]), snapshot=LoadSnapshot.from_dict(stored["snapshot"])
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _LOG.warning(
            "%s: what runs have seen cannot be read (%s). It is left out until the next run.",
            path,
            type(error).__name__,
        )
        return None
