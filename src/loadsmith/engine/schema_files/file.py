"""Read and update the schema files that dlt exports; only updating needs dlt."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadsmith.documents import read_whole
from loadsmith.engine.schema_files.tables import (
    changes_between,
    column_snapshot,
    text_of,
    types_of,
)
from loadsmith.engine.schema_files.text import decode, parse_schema, place_in
from loadsmith.errors import LoadsmithError, ResolveError, SchemaFileNotFound
from loadsmith.model import SchemaChange, TableSnapshot

if TYPE_CHECKING:
    from dlt.common.schema import Schema

_AGAIN = "Write it again with `loadsmith schema`."

#: Characters of a name that a message shows.
_SHOWN = 200

#: Returns the place of the key at the end of a path: file, line and column.
_Where = Callable[..., str]


@dataclass(frozen=True, kw_only=True)
class SchemaFile:
    """The data tables of a schema file, without dlt's internal tables.

    Attributes:
        tables: In the order of the file, but each root table before its nested tables.
    """

    schema_name: str
    tables: tuple[TableSnapshot, ...]
    version_hash: str | None = None

    def tables_of(self, resource: str) -> tuple[TableSnapshot, ...]:
        """Return the tables of a resource, including nested ones."""
        return tuple(self._by_resource.get(resource, ()))

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of the resources that have tables, in the order of the file."""
        return tuple(self._by_resource)

    @cached_property
    def _by_resource(self) -> dict[str, list[TableSnapshot]]:
        tables: dict[str, list[TableSnapshot]] = {}
        for table in self.tables:
            tables.setdefault(table.resource, []).append(table)
        return tables


def read_schema_file(path: str, *, written_as: str | None = None, remedy: str = "") -> SchemaFile:
    """Read a schema file (YAML or JSON), once per content of the file.

    Args:
        path: Absolute path.
        written_as: The path as the user wrote it, for messages.
        remedy: What to do if the file does not exist.

    Raises:
        SchemaFileNotFound: The file does not exist.
        ResolveError: The file is no schema that dlt exported. Line and column are named.
    """
    shown = written_as or path
    try:
        status = Path(path).stat()
        if Path(path).is_dir():
            raise ResolveError(f"{shown}: this is a folder. Name the schema file in it.")
        return _read_cached(path, status.st_mtime_ns, status.st_size, shown)
    except (FileNotFoundError, NotADirectoryError) as exc:
        todo = remedy or (
            "Run `loadsmith schema` for the asset, or the pipeline once with `export_schema_path`."
        )
        raise SchemaFileNotFound(f"Schema file not found at {shown!r}. {todo}") from exc
    except OSError as exc:
        raise ResolveError(f"{shown}: this file cannot be read ({exc.strerror or exc}).") from exc


def tables_of_schema(
    stored: Mapping[str, Any], *, shown: str = "schema", text: str | None = None
) -> tuple[TableSnapshot, ...]:
    """Return the data tables of a schema in the form that dlt stores.

    Args:
        stored: The schema; it is not changed.
        shown: Its name in messages.
        text: The text that it was read from, if messages shall name line and column.

    Raises:
        ResolveError: The schema has another form.
    """

    def where(*path: str) -> str:
        if text is None:
            return shown
        line, column = place_in(text, shown, path)
        return f"{shown}:{line}:{column}"

    tables = _mapping(stored.get("tables"), "`tables`", where, "tables")
    kept = {
        str(name): _mapping(table, f"table {str(name)!r}", where, "tables", str(name))
        for name, table in tables.items()
        if not str(name).lower().startswith("_dlt")
    }
    return tuple(_in_order(kept, where))


def update_schema_file(
    schema: "Schema", path: str, *, prunes: Callable[[str], bool] = lambda _resource: False
) -> list[SchemaChange]:
    """Bring a schema file up to date with a schema that dlt inferred; return what changed.

    The file is written as dlt exports it, and only if something changed. Tables that only the file
    has are kept, because a run with few rows does not see all tables.

    Args:
        schema: The schema.
        path: The file; it is created if it does not exist.
        prunes: Tells of a resource whether its tables and columns that only the file has are
            removed. Other loads may have theirs in the same file.

    Raises:
        ResolveError: The file exists and is no schema.
    """
    from dlt.common.schema import Schema

    old: dict[str, Any] = {}
    if Path(path).exists():
        read_schema_file(path)
        old = parse_schema(Path(path).read_text("utf-8"), path)
    new: dict[str, Any] = json.loads(json.dumps(schema.to_dict(remove_defaults=True), default=str))
    merged = _merged(_without(old, prunes), new) if old else new
    before = tables_of_schema(old) if old else ()
    changes = changes_between(types_of(before), types_of(tables_of_schema(merged)))
    if changes or not old:
        merged_schema = Schema.from_dict(merged)
        pretty = (
            merged_schema.to_pretty_json()
            if path.endswith(".json")
            else merged_schema.to_pretty_yaml()
        )
        write_whole(path, pretty)
    return changes


def write_whole(path: str, text: str) -> None:
    """Write a file so that a reader sees either the old text or the new text, never a part."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{Path(path).name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # Only the owner can read a temporary file. This file is made to be committed.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@lru_cache(maxsize=4096)
def _read_cached(path: str, _mtime_ns: int, _size: int, shown: str) -> SchemaFile:
    text = decode(read_whole(path), shown)
    stored = parse_schema(text, shown)
    if "tables" not in stored or "name" not in stored:
        missing = "tables" if "tables" not in stored else "name"
        raise ResolveError(
            f"{shown}:1:1: this is not a schema that dlt exported: it has no `{missing}`. {_AGAIN}"
        )
    if not isinstance(stored["name"], str):
        line, column = place_in(text, shown, ["name"])
        raise ResolveError(f"{shown}:{line}:{column}: `name` is no text. {_AGAIN}")
    return SchemaFile(
        schema_name=stored["name"],
        tables=tables_of_schema(stored, shown=shown, text=text),
        version_hash=text_of(stored.get("version_hash")),
    )


def _without(stored: Mapping[str, Any], prunes: Callable[[str], bool]) -> dict[str, Any]:
    """Return a schema without the tables of some resources; dlt's own stay."""
    gone = {table.name for table in tables_of_schema(stored) if prunes(table.resource)}
    tables = {name: table for name, table in stored["tables"].items() if name not in gone}
    return {**stored, "tables": tables}


def _mapping(value: Any, what: str, where: _Where, *path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ResolveError(
            f"{where(*path)}: {_short(what)} is not a mapping, as it is in a schema that dlt"
            f" exported. {_AGAIN}"
        )
    return value


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _in_order(tables: Mapping[str, Mapping[str, Any]], where: _Where) -> Iterator[TableSnapshot]:
    below: dict[str, list[str]] = {}
    roots: list[str] = []
    for name, table in tables.items():
        parent = table.get("parent")
        if parent is None:
            roots.append(name)
        elif isinstance(parent, str) and parent in tables:
            below.setdefault(parent, []).append(name)
        else:
            raise ResolveError(
                f"{where('tables', name, 'parent')}: table {_short(repr(name))} has the parent"
                f" {_short(repr(parent))}, which is not in the file. {_AGAIN}"
            )
    seen = 0
    for root in roots:
        resource = text_of(tables[root].get("resource")) or root
        stack = [root]
        while stack:
            name = stack.pop()
            seen += 1
            yield _table(name, resource, tables[name], where)
            stack.extend(reversed(below.get(name, ())))
    if seen != len(tables):
        raise ResolveError(f"{where('tables')}: tables are each other's parents. {_AGAIN}")


def _table(name: str, resource: str, table: Mapping[str, Any], where: _Where) -> TableSnapshot:
    path = ("tables", name, "columns")
    columns = _mapping(table.get("columns") or {}, f"`columns` of table {name!r}", where, *path)
    return TableSnapshot(
        name=name,
        resource=resource,
        parent=text_of(table.get("parent")),
        columns=tuple(
            column_snapshot(
                str(column),
                _mapping(
                    hints, f"column {str(column)!r} of table {name!r}", where, *path, str(column)
                ),
            )
            for column, hints in columns.items()
        ),
        description=text_of(table.get("description")),
        write_disposition=text_of(table.get("write_disposition")),
    )


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    tables: dict[str, Any] = dict(_mapping(old.get("tables"), "`tables`", lambda *_path: "schema"))
    for name, table in new["tables"].items():
        before = tables.get(name)
        columns = dict(before.get("columns") or {}) if before else {}
        for column, hints in (table.get("columns") or {}).items():
            # dlt does not know the type of a declared column, such as a key, that has had no value.
            if column not in columns or "data_type" in hints:
                columns[column] = hints
        tables[name] = {**table, "columns": columns}
    return {**old, **new, "tables": tables}


def declared_tables(path: str | None) -> frozenset[str] | None:
    """Return the names of the tables in a schema file; None if there is no readable file."""
    if path is None:
        return None
    try:
        return frozenset(table.name for table in read_schema_file(path).tables)
    except LoadsmithError:
        return None
