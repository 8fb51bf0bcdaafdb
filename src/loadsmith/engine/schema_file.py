"""dlt's exported schema file in, tables and columns out; dlt is only needed to write one."""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from loadsmith.errors import LoadsmithError, ResolveError, SchemaFileNotFound
from loadsmith.model import ColumnSnapshot, SchemaChange, TableSnapshot

if TYPE_CHECKING:
    from dlt.common.schema import Schema

# libyaml reads some ten times faster; a Python without it still works.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class SchemaFile:
    """What a schema file says: its data tables, without those that dlt keeps for itself.

    Attributes:
        tables: Root tables before their nested tables, otherwise in the order of the file.
    """

    schema_name: str
    tables: tuple[TableSnapshot, ...]
    version_hash: str | None = None

    def tables_of(self, resource: str) -> tuple[TableSnapshot, ...]:
        """Return the tables of a resource, its root tables and all below them."""
        return tuple(self._by_resource.get(resource, ()))

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of the resources that have tables, in the order of the file."""
        return tuple(self._by_resource)

    @cached_property
    def _by_resource(self) -> dict[str, list[TableSnapshot]]:
        found: dict[str, list[TableSnapshot]] = {}
        for table in self.tables:
            found.setdefault(table.resource, []).append(table)
        return found


def read_schema_file(path: str, *, written_as: str | None = None, remedy: str = "") -> SchemaFile:
    """Read a schema file (YAML or JSON), once per content of the file.

    Args:
        path: Absolute path.
        written_as: The path as the user wrote it, for messages.
        remedy: What to do when the file is not there.

    Raises:
        SchemaFileNotFound: The file is not there.
        ResolveError: The file is not a schema that dlt exported; line and column are named.
    """
    shown = written_as or path
    try:
        status = Path(path).stat()
        if not Path(path).is_file():
            raise ResolveError(f"{shown}: this is a folder. Name the schema file in it.")
        return _read_cached(path, status.st_mtime_ns, status.st_size, shown)
    except (FileNotFoundError, NotADirectoryError) as exc:
        todo = remedy or (
            "Run `loadsmith schema` for the asset, or the pipeline once with `export_schema_path`."
        )
        raise SchemaFileNotFound(f"Schema file not found at {shown!r}. {todo}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ResolveError(f"{shown}: this file cannot be read ({type(exc).__name__}).") from exc


def tables_of_schema(
    stored: Mapping[str, Any], *, shown: str = "schema"
) -> tuple[TableSnapshot, ...]:
    """Return the data tables of a schema in dlt's stored form, which is left as it is.

    Raises:
        ResolveError: It has another shape.
    """
    tables = _mapping(stored.get("tables"), f"{shown}: `tables`")
    kept = {
        str(name): _mapping(table, f"{shown}: table {name!r}")
        for name, table in tables.items()
        if not str(name).lower().startswith("_dlt")
    }
    return tuple(_in_order(kept, shown))


def update_schema_file(schema: "Schema", path: str, *, prune: bool = False) -> list[SchemaChange]:
    """Bring a schema file up to date with a schema that dlt inferred; return what changed.

    The file is written as dlt exports it, whole or not at all, and only when something changed.
    A run that was limited to a few rows does not see all tables, so those that only the file
    has are kept, unless `prune` says that they are to go.

    Raises:
        ResolveError: There is a file of that name that is no schema.
    """
    from dlt.common.schema import Schema

    old: dict[str, Any] = {}
    if Path(path).exists():
        read_schema_file(path)
        old = _parse(Path(path).read_text("utf-8"), path)
    new: dict[str, Any] = json.loads(json.dumps(schema.to_dict(remove_defaults=True), default=str))
    merged = new if prune or not old else _merged(old, new)
    changes = list(_changes(old, merged))
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
    """Write a file so that a reader sees the old text or the new one, never half of it."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{Path(path).name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # A temporary file is readable by its owner only; this one is to be committed.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@lru_cache(maxsize=4096)
def _read_cached(path: str, _mtime_ns: int, _size: int, shown: str) -> SchemaFile:
    stored = _parse(Path(path).read_text("utf-8-sig"), shown)
    if "tables" not in stored or "name" not in stored:
        missing = "tables" if "tables" not in stored else "name"
        raise ResolveError(
            f"{shown}:1:1: this is not a schema that dlt exported: it has no `{missing}`."
            " Write it again with `loadsmith schema`."
        )
    version_hash = stored.get("version_hash")
    return SchemaFile(
        schema_name=str(stored["name"]),
        tables=tables_of_schema(stored, shown=shown),
        version_hash=str(version_hash) if version_hash else None,
    )


def _parse(text: str, shown: str) -> dict[str, Any]:
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, of libyaml
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
        problem = getattr(exc, "problem", None) or "it has a character that YAML does not allow"
        raise ResolveError(
            f"{place}: this is not YAML: {problem}. Write it again with `loadsmith schema`."
        ) from exc
    except (ValueError, RecursionError) as exc:
        # PyYAML lets a date such as 2020-99-99 out as a plain ValueError.
        raise ResolveError(f"{shown}: this is not YAML that can be read: {exc}.") from exc
    if value is None:
        raise ResolveError(f"{shown}: the file is empty. Write it with `loadsmith schema`.")
    if not isinstance(value, dict):
        raise ResolveError(
            f"{shown}:1:1: this is not a schema that dlt exported."
            " Write it again with `loadsmith schema`."
        )
    return value


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ResolveError(
            f"{place} is not a mapping, as it is in a schema that dlt exported."
            " Write the file again with `loadsmith schema`."
        )
    return value


def _in_order(tables: Mapping[str, Mapping[str, Any]], shown: str) -> Iterator[TableSnapshot]:
    below: dict[str, list[str]] = {}
    roots: list[str] = []
    for name, table in tables.items():
        parent = table.get("parent")
        if parent is None:
            roots.append(name)
        elif parent in tables:
            below.setdefault(str(parent), []).append(name)
        else:
            raise ResolveError(
                f"{shown}: table {name!r} has the parent {parent!r}, which is not in the file."
                " Write it again with `loadsmith schema`."
            )
    seen = 0
    for root in roots:
        resource = str(tables[root].get("resource") or root)
        stack = [root]
        while stack:
            name = stack.pop()
            seen += 1
            yield _table(name, resource, tables[name], shown)
            stack.extend(reversed(below.get(name, ())))
    if seen != len(tables):
        raise ResolveError(f"{shown}: tables are each other's parents. Write it again.")


def _table(name: str, resource: str, table: Mapping[str, Any], shown: str) -> TableSnapshot:
    columns = _mapping(table.get("columns") or {}, f"{shown}: `columns` of table {name!r}")
    parent = table.get("parent")
    return TableSnapshot(
        name=name,
        resource=resource,
        parent=str(parent) if parent is not None else None,
        columns=tuple(
            column_snapshot(
                str(column), _mapping(hints, f"{shown}: column {column!r} of table {name!r}")
            )
            for column, hints in columns.items()
        ),
        description=_text(table.get("description")),
        write_disposition=_text(table.get("write_disposition")),
    )


def column_snapshot(name: str, hints: Mapping[str, Any]) -> ColumnSnapshot:
    """Return a column of a dlt schema as plain data."""
    return ColumnSnapshot(
        name=name,
        data_type=_text(hints.get("data_type")),
        nullable=hints.get("nullable", True) is not False,
        primary_key=bool(hints.get("primary_key")),
        merge_key=bool(hints.get("merge_key")),
        unique=bool(hints.get("unique")),
        precision=_number(hints.get("precision")),
        scale=_number(hints.get("scale")),
        description=_text(hints.get("description")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    tables: dict[str, Any] = dict(_mapping(old.get("tables"), "tables"))
    for name, table in new["tables"].items():
        before = tables.get(name)
        columns = dict(before.get("columns") or {}) if before else {}
        for column, hints in (table.get("columns") or {}).items():
            # Of a column that is declared and never came, a key say, dlt does not know the type.
            if column not in columns or "data_type" in hints:
                columns[column] = hints
        tables[name] = {**table, "columns": columns}
    return {**old, **new, "tables": tables}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[SchemaChange]:
    before, after = (_types(value) for value in (old, new))
    for table, columns in after.items():
        if table not in before:
            yield SchemaChange(table=table, kind="new table")
            continue
        for column, kind in columns.items():
            if column not in before[table]:
                yield SchemaChange(table=table, kind=_new_kind(column), column=column, after=kind)
            elif before[table][column] != kind:
                yield SchemaChange(
                    table=table,
                    kind="changed type",
                    column=column,
                    before=before[table][column],
                    after=kind,
                )
        for column in before[table].keys() - columns.keys():
            yield SchemaChange(
                table=table, kind="dropped column", column=column, before=before[table][column]
            )
    for table in before.keys() - after.keys():
        yield SchemaChange(table=table, kind="dropped table")


def _new_kind(column: str) -> str:
    # dlt's name for a column that takes the values that do not fit into `x`: `x__v_text`.
    return "new variant" if re.search(r"__v_[a-z]+$", column) else "new column"


def _types(stored: Mapping[str, Any]) -> dict[str, dict[str, str | None]]:
    if not stored:
        return {}
    return {
        table.name: {
            column.name: _type_text(column) for column in table.columns if column.data_type
        }
        for table in tables_of_schema(stored)
    }


def _type_text(column: ColumnSnapshot) -> str | None:
    if column.data_type is None or column.precision is None:
        return column.data_type
    scale = f", {column.scale}" if column.scale is not None else ""
    return f"{column.data_type}({column.precision}{scale})"


def declared_tables(path: str | None) -> frozenset[str] | None:
    """Return the tables that a schema file names, or None where there is none to ask."""
    if path is None:
        return None
    try:
        return frozenset(table.name for table in read_schema_file(path).tables)
    except LoadsmithError:
        return None
