"""Find out which resources, tables and columns a load has, without running it."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loadsmith.documents import read_whole
from loadsmith.engine.schema_files import (
    SchemaFile,
    decode,
    parse_schema,
    read_schema_file,
    tables_of_schema,
    write_whole,
)
from loadsmith.engine.snapshots.resource import inspect_resource, root_table_of
from loadsmith.engine.snapshots.seen import with_seen
from loadsmith.errors import ResolveError
from loadsmith.model import (
    LoadDefinition,
    LoadSnapshot,
    PipelineSettings,
    ResourceSelection,
    ResourceSnapshot,
    RunRequest,
    SourceReference,
    TableSnapshot,
)

if TYPE_CHECKING:
    from dlt.extract import DltSource

_AGAIN = "Write it again with `loadsmith schema`."


def inspect_load(definition: LoadDefinition, *, may_ask_source: bool = True) -> LoadSnapshot:
    """Return what a load is known to produce, if possible without network, secrets or dlt.

    The schema file comes first, then the stored snapshot, then the source: it is imported and
    called, and nothing is extracted. If the source may not be asked, the resources that the
    definition names are returned without tables.

    Raises:
        SchemaFileNotFound: The definition names a schema file that does not exist.
        ResolveError: A file is damaged, the source cannot be made, or the resources are unknown.
    """
    names = _names(definition)
    if definition.schema_file_path is not None:
        file = read_schema_file(
            definition.schema_file_path,
            written_as=_as_written(definition),
            remedy="Run `loadsmith schema` for the asset, or the pipeline once with"
            " `export_schema_path`, to make it.",
        )
        return _with_seen(_of_schema_file(file, definition.resources, names), definition)
    if definition.snapshot_path is not None and Path(definition.snapshot_path).exists():
        return _selected(read_snapshot(definition.snapshot_path), definition.resources)
    if not may_ask_source:
        if definition.resources.is_plain:
            return _with_seen(_of_names(definition, names), definition)
        looked = definition.snapshot_path
        raise ResolveError(
            f"load {definition.name!r}: which resources it has is not known without asking its"
            f" source{f', and there is no {looked}' if looked else ''}."
            " Run `loadsmith schema` once, or name the resources."
        )
    return sent_by_run(_selected(_ask(definition, names), definition.resources), definition)


def sent_by_run(snapshot: LoadSnapshot, definition: LoadDefinition) -> LoadSnapshot:
    """Return the snapshot with the table that `run_params.table_name` sends its resource to.

    dlt sends all resources of a load to that table. With several resources it belongs to none.
    """
    name = definition.options.params.get("table_name")
    chosen = [known for known in snapshot.resources if definition.resources.matches(known.name)]
    if not isinstance(name, str) or len(chosen) != 1:
        return snapshot
    (resource,) = chosen
    roots = {table.name for table in resource.root_tables}
    before = resource.table_name or resource.name
    if name in roots or roots - {before}:
        return snapshot
    tables = tuple(_called(table, before, name) for table in resource.tables)
    sent = replace(resource, table_name=name, tables=tables)
    return replace(
        snapshot,
        resources=tuple(sent if known is resource else known for known in snapshot.resources),
    )


def _called(table: TableSnapshot, before: str, name: str) -> TableSnapshot:
    if table.parent is None:
        return replace(table, name=name)
    return replace(
        table,
        name=f"{name}{table.name.removeprefix(before)}",
        parent=f"{name}{table.parent.removeprefix(before)}",
    )


def inspect_source(
    source: "DltSource",
    *,
    pipeline_name: str | None = None,
    dataset_name: str | None = None,
    destination_name: str | None = None,
    origin: str = "live",
) -> LoadSnapshot:
    """Return the snapshot of a live source; nothing is extracted, and the source stays as it is.

    Nested tables, and tables whose name is chosen per row, are not known before a run.
    """
    known = tables_of_schema(source.schema.to_dict())
    return LoadSnapshot(
        source_name=source.name,
        resources=tuple(
            inspect_resource(resource, source, known) for resource in source.resources.values()
        ),
        origin=origin,
        pipeline_name=pipeline_name,
        dataset_name=dataset_name,
        destination_name=destination_name,
        version_hash=source.schema.stored_version_hash,
    )


def read_snapshot(path: str) -> LoadSnapshot:
    """Read a stored snapshot, or a schema file that was stored in its place.

    Raises:
        ResolveError: The file is neither; its line is named.
    """
    try:
        text = decode(read_whole(path), path)
    except OSError as exc:
        raise ResolveError(f"{path}: this file cannot be read ({exc.strerror or exc}).") from exc
    if not path.endswith(".json") or '"engine_version"' in text:
        file = read_schema_file(path)
        return _of_schema_file(file, ResourceSelection(), {})
    stored = parse_schema(text, path)
    try:
        return LoadSnapshot.from_dict(stored)
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        # The message of Python ends with the name of the wrong field.
        named = re.search(r"'(\w+)'$", str(exc))
        at = text.find(f'"{named[1]}"') if named else -1
        line = text.count("\n", 0, max(at, 0)) + 1
        raise ResolveError(
            f"{path}:{line}:1: this is not a snapshot of a load: {exc}. {_AGAIN}"
        ) from exc


def write_snapshot(snapshot: LoadSnapshot, path: str) -> None:
    """Store a snapshot as JSON with a value per line, so that it can be committed."""
    write_whole(path, json.dumps(snapshot.to_dict(), indent=2, ensure_ascii=False) + "\n")


def root_tables_of(source: "DltSource", resources: Iterable[str]) -> dict[str, str]:
    """Return the root table of each resource, unless its rows choose the table."""
    known = source.resources
    tables = {name: root_table_of(known[name], source) for name in resources if name in known}
    return {name: table.name for name, table in tables.items() if table is not None}


def default_table_name(resource: str) -> str:
    """Return the table of a resource of this name, by the naming convention that dlt has."""
    from dlt.common.normalizers.naming.snake_case import NamingConvention

    return NamingConvention().normalize_table_identifier(resource)


def _with_seen(snapshot: LoadSnapshot, definition: LoadDefinition) -> LoadSnapshot:
    settings = definition.pipeline
    if not isinstance(settings, PipelineSettings):
        return snapshot
    return with_seen(
        snapshot,
        definition.source,
        pipeline_name=settings.pipeline_name,
        pipelines_dir=settings.pipelines_dir,
    )


def _names(definition: LoadDefinition) -> dict[str, str | None]:
    settings = definition.pipeline if isinstance(definition.pipeline, PipelineSettings) else None
    return {
        "pipeline_name": settings.pipeline_name if settings else None,
        "dataset_name": settings.dataset_name if settings else None,
        "destination_name": definition.destination.name if definition.destination else None,
    }


def _as_written(definition: LoadDefinition) -> str:
    path = str(definition.schema_file_path)
    source = definition.source
    folder = source.search_path if isinstance(source, SourceReference) else None
    if folder and Path(path).is_relative_to(folder):
        return Path(os.path.relpath(path, folder)).as_posix()
    return path


def _of_schema_file(
    file: SchemaFile, selection: ResourceSelection, names: Mapping[str, str | None]
) -> LoadSnapshot:
    names_of_resources = [name for name in file.resources if selection.matches(name)]
    # A resource that the definition names is loaded even if the file does not have it yet.
    if selection.is_plain:
        names_of_resources = list(dict.fromkeys((*names_of_resources, *selection.include)))
    return LoadSnapshot(
        source_name=file.schema_name,
        resources=tuple(_of_tables(name, file) for name in names_of_resources),
        origin="schema file",
        version_hash=file.version_hash,
        **names,
    )


def _of_tables(name: str, file: SchemaFile) -> ResourceSnapshot:
    tables = file.tables_of(name)
    roots = [table for table in tables if table.parent is None]
    only = roots[0] if len(roots) == 1 else None
    return ResourceSnapshot(
        name=name,
        source_name=file.schema_name,
        table_name=only.name if only else None,
        write_disposition=only.write_disposition if only else None,
        primary_key=only.primary_key if only else (),
        description=only.description if only else None,
        tables=tables,
    )


def _of_names(definition: LoadDefinition, names: Mapping[str, str | None]) -> LoadSnapshot:
    source = definition.source
    source_name = (
        source.module.rpartition(".")[2] if isinstance(source, SourceReference) else definition.name
    )
    return LoadSnapshot(
        source_name=source_name,
        resources=tuple(
            ResourceSnapshot(name=name, source_name=source_name)
            for name in dict.fromkeys(definition.resources.include)
        ),
        origin="names",
        **names,
    )


def _selected(snapshot: LoadSnapshot, selection: ResourceSelection) -> LoadSnapshot:
    chosen = tuple(known for known in snapshot.resources if selection.matches(known.name))
    return replace(snapshot, resources=chosen)


def _ask(definition: LoadDefinition, names: Mapping[str, str | None]) -> LoadSnapshot:
    from loadsmith.engine.dlt_hooks import secrets_of_load
    from loadsmith.engine.secrets import missing_secret
    from loadsmith.engine.sources import make_source

    with secrets_of_load(definition, RunRequest()) as redactor:
        try:
            source = make_source(definition.source)
            is_recipe = isinstance(definition.source, SourceReference)
            snapshot = inspect_source(source, origin="source" if is_recipe else "live", **names)
        except Exception as error:  # noqa: BLE001 - raised again, without secrets
            redactor.raise_clean(error, missing_secret(error))
        shown = repr(snapshot)
        if redactor.redact(shown) == shown:
            return snapshot
        return LoadSnapshot.from_dict(redactor.redact_value(snapshot.to_dict()))
