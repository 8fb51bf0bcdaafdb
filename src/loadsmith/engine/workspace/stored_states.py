"""The state of each resource in the destination: what it is, and the package that set it.

dlt stores the state of a pipeline as a whole and takes that of the newest load id, which is a
clock. Loads that share a pipeline name each store what they know of the others, too. So the state
of each resource, and each other key of a source, is kept in a row of its own, with the number of
the ledger entry that it came with. Plain dlt finds its own rows as ever.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.versioned_state import compress_state, decompress_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import WithSqlClient

from loadsmith.errors import ResolveError

STATE_TABLE = "_dlt_loadsmith_states"

#: Where a value stands in the `sources` of a state.
Path = tuple[str, ...]

#: Here stands the greatest load id of all packages, for a clock may have been ahead.
LAST: Path = ()

#: Is read where a value is not what a run has written.
DAMAGED = object()

_UNDEFINED = (DatabaseUndefinedRelation, DestinationUndefinedEntity)


@dataclass(frozen=True)
class StoredState:
    """A value, and the package that set it.

    Attributes:
        path: Where it stands: source and key, or source, `resources` and resource.
        load_id: The package.
        sequence: The number of the package in the ledger.
        value: The value.
        is_marked: Whether dlt counts the package as loaded.
    """

    path: Path
    load_id: str
    sequence: int
    value: Any
    is_marked: bool


def leaves_of(sources: Mapping[str, Any]) -> dict[Path, Any]:
    """Return the state of every resource and every other key of every source."""
    found: dict[Path, Any] = {}
    for source, own in sources.items():
        for key, value in own.items():
            if key == "resources":
                found.update({(source, key, name): state for name, state in value.items()})
            else:
                found[source, key] = value
    return found


def sources_of(leaves: Mapping[Path, Any]) -> dict[str, Any]:
    """Return the `sources` of a state that has the values."""
    sources: dict[str, Any] = {}
    for path, value in leaves.items():
        target = sources
        for key in path[:-1]:
            target = target.setdefault(key, {})
        target[path[-1]] = value
    return sources


def read_stored(client: Any, state: str) -> list[StoredState]:
    """Read the values that are stored under the name of a state, the oldest first."""
    try:
        rows = _files(client, state) if isinstance(client, FSClientBase) else _rows(client, state)
    except _UNDEFINED:
        return []
    found = [
        StoredState(tuple(json.loads(path)), load_id, number, _value_of(text), is_marked)
        for path, load_id, number, text, is_marked in rows
    ]
    found.sort(key=lambda one: (one.sequence, one.load_id))
    newest = {one.path: one for one in found if one.is_marked}
    for one in newest.values():
        if one.value is DAMAGED and one.path != LAST:
            place = f"the value of {'.'.join(one.path)} that package {one.load_id} has set"
            raise ResolveError(
                f"{STATE_TABLE} in {named_dataset(client)}: {place} is damaged: it is"
                " not what a run has written. It keeps a cursor. Restore the table from a backup;"
                " or delete the row or file, and the rows of that resource if they are appended:"
                " the resource is then loaded from its start."
            )
    # The greatest load id of all is at least that of the package itself.
    return [
        replace(one, value=one.load_id) if one.value is DAMAGED and one.path == LAST else one
        for one in found
    ]


def write_stored(
    client: Any, state: str, load_id: str, sequence: int, values: Mapping[Path, Any]
) -> None:
    """Store the values that a package sets; they count when the package is marked as loaded."""
    forget_stored(client, load_id)
    for path, value in values.items():
        text = compress_state({"value": value})  # type: ignore[typeddict-unknown-key]
        if isinstance(client, FSClientBase):
            known: Any = client
            name = f"{_hash_of(state)}-{_hash_of(_text_of(path))}-{sequence}-{load_id}.json"
            known.fs_client.makedirs(_folder(client), exist_ok=True)
            known.fs_client.write_text(
                known.pathlib.join(_folder(client), name),
                json.dumps({"path": _text_of(path), "value": text}),
                encoding="utf-8",
            )
            continue
        table, names = _table(client)
        client.sql_client.execute_sql(
            f"INSERT INTO {table}({', '.join(names.values())}) VALUES(%s, %s, %s, %s, %s)",
            state,
            _text_of(path),
            load_id,
            sequence,
            text,
        )


def greatest_sequence(client: Any) -> int:
    """Return the greatest number that a value of the dataset came with; 0 where there is none."""
    if isinstance(client, FSClientBase):
        return max((int(parts[2]) for parts in _names(client).values()), default=0)
    table, names = _table(client)
    try:
        [(last,)] = client.sql_client.execute_sql(f"SELECT MAX({names['sequence']}) FROM {table}")
    except _UNDEFINED:
        return 0
    return int(last or 0)


def drop_older(client: Any, state: str, sequence: int, paths: Iterable[Path]) -> None:
    """Drop the values that a package which is marked as loaded has replaced."""
    for path in (*paths, LAST):
        if isinstance(client, FSClientBase):
            begin = f"{_hash_of(state)}-{_hash_of(_text_of(path))}-"
            for file, parts in _names(client).items():
                if file.rpartition("/")[2].startswith(begin) and int(parts[2]) < sequence:
                    client.fs_client.rm(file)
            continue
        table, names = _table(client)
        client.sql_client.execute_sql(
            f"DELETE FROM {table} WHERE {names['state']} = %s AND {names['path']} = %s"
            f" AND {names['sequence']} < %s",
            state,
            _text_of(path),
            sequence,
        )


def forget_stored(client: Any, load_id: str) -> None:
    """Drop the values that a package has set, for it was undone."""
    if isinstance(client, FSClientBase):
        for file, parts in _names(client).items():
            if parts[3] == load_id:
                client.fs_client.rm(file)
        return
    if not isinstance(client, WithSqlClient):
        return
    table, names = _table(client)
    with contextlib.suppress(*_UNDEFINED):
        delete_where(client.sql_client, table, names["load_id"], load_id)


def delete_where(sql_client: Any, table: str, column: str, value: str) -> None:
    """Delete the rows that have a value, if any.

    Where there are none, MariaDB would lock the place for them, and two loads that then write there
    would wait for each other.
    """
    if sql_client.execute_sql(f"SELECT 1 FROM {table} WHERE {column} = %s", value):
        sql_client.execute_sql(f"DELETE FROM {table} WHERE {column} = %s", value)


def _rows(client: Any, state: str) -> list[tuple[str, str, int, str, bool]]:
    if not isinstance(client, WithSqlClient):
        return []
    known: Any = client
    table, names = _table(client)
    loads = known.sql_client.make_qualified_table_name(known.schema.loads_table_name)
    c_load_id, c_status = _columns(client, "load_id", "status")
    wanted = ", ".join(f"s.{names[name]}" for name in ("path", "load_id", "sequence", "value"))
    rows = known.sql_client.execute_sql(
        f"SELECT {wanted}, l.{c_load_id} FROM {table} AS s LEFT JOIN {loads} AS l"
        f" ON l.{c_load_id} = s.{names['load_id']} AND l.{c_status} = 0"
        f" WHERE s.{names['state']} = %s",
        state,
    )
    return [
        (path, load_id, int(n), text, mark is not None) for path, load_id, n, text, mark in rows
    ]


def _files(client: Any, state: str) -> list[tuple[str, str, int, str, bool]]:
    marked = marked_files(client)
    found = []
    for file, parts in _names(client).items():
        if parts[0] == _hash_of(state):
            found.append((*_read_file(client, file, parts), parts[3] in marked))
    return found


def _read_file(client: Any, file: str, parts: list[str]) -> tuple[str, str, int, str]:
    load_id, number = parts[3], int(parts[2])
    try:
        found = json.loads(client.fs_client.read_text(file, encoding="utf-8"))
        return found["path"], load_id, number, found["value"]
    except (OSError, KeyError, TypeError, ValueError):
        # The name tells that of the greatest load id; of others, it is a hash.
        is_last = parts[1] == _hash_of(_text_of(LAST))
        return _text_of(LAST if is_last else (file.rpartition("/")[2],)), load_id, number, ""


def named_dataset(client: Any) -> str:
    """Return the dataset that a client works in, for messages."""
    name = getattr(client, "dataset_name", None) or client.sql_client.dataset_name
    return f"the dataset {name}"


def marked_files(client: Any) -> set[str]:
    """Return the load ids of the packages that dlt counts as loaded, where these are files."""
    folder = client.get_table_dir(client.schema.loads_table_name)
    if not client.fs_client.exists(folder):
        return set()
    found = client.fs_client.ls(folder, detail=False)
    return {path.rpartition("__")[2].removesuffix(".jsonl") for path in found}


def _names(client: Any) -> dict[str, list[str]]:
    folder = _folder(client)
    if not client.fs_client.exists(folder):
        return {}
    found = [path.replace("\\", "/") for path in client.fs_client.ls(folder, detail=False)]
    names = {path: path.rpartition("/")[2].removesuffix(".json").split("-", 3) for path in found}
    return {path: parts for path, parts in names.items() if len(parts) == 4 and parts[2].isdigit()}


def _folder(client: Any) -> str:
    return str(client.pathlib.join(client.dataset_path, STATE_TABLE))


def _table(client: Any) -> tuple[str, dict[str, str]]:
    names = ("state", "path", "load_id", "sequence", "value")
    table: str = client.sql_client.make_qualified_table_name(STATE_TABLE)
    return table, dict(zip(names, _columns(client, *names), strict=True))


def _columns(client: Any, *names: str) -> list[str]:
    return [
        client.sql_client.escape_column_name(client.schema.naming.normalize_path(name))
        for name in names
    ]


def _text_of(path: Path) -> str:
    return json.dumps(path)


def _value_of(text: str) -> Any:
    try:
        return decompress_state(text)["value"]
    except Exception:  # noqa: BLE001 - whatever dlt says of a text that is damaged
        return DAMAGED


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
