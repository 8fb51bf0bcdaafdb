"""A run in, what it has seen of its load out, kept for those who define the load again (`seen`)."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadsmith.engine.schema_files import write_whole
from loadsmith.engine.snapshots.resource import inspect_resource
from loadsmith.engine.snapshots.seen import OWN_FOLDER, Seen, known_by, read_seen, seen_folder
from loadsmith.model import LoadDefinition, LoadResult, LoadSnapshot, TableSnapshot

if TYPE_CHECKING:
    from dlt.extract import DltSource


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
    path = seen_folder(str(home), result.pipeline_name) / f"{definition.name}.json"
    told_by = known_by(definition.source, source.name)
    before = read_seen(path)
    if before is not None and before.known_by == told_by:
        for other in before.snapshot.resources:
            resources.setdefault(other.name, other)
    snapshot = LoadSnapshot(
        source_name=source.name,
        resources=tuple(resources[name] for name in sorted(resources)),
        origin="stored",
        pipeline_name=result.pipeline_name,
        dataset_name=result.dataset_name,
        destination_name=result.destination_name,
    )
    plain = redact(snapshot.to_dict())
    seen = Seen(known_by=told_by, snapshot=LoadSnapshot.from_dict(plain))
    if seen != before:
        stored = {"known_by": told_by, "snapshot": plain}
        write_whole(str(path), json.dumps(stored, ensure_ascii=False))


def _home_of(working_dir: str) -> Path:
    """Return the folder of working directories, from one of a partition or of a part, too."""
    parts = Path(working_dir).parts
    if OWN_FOLDER in parts:
        return Path(*parts[: len(parts) - 1 - parts[::-1].index(OWN_FOLDER)])
    return Path(working_dir).parent
