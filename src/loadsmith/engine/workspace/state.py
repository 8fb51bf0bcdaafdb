"""The pipeline state in the destination in, the working directory's state out.

dlt takes the newest state as a whole. Loads that run side by side under one pipeline name each
store the whole state, in which only their own resources are up to date; so the newest value of
each resource is taken from the newest state that changed it.
"""

import base64
import contextlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.versioned_state import decompress_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import WithSqlClient

from loadsmith.engine.dlt_hooks import (
    exports_schemas,
    limited_sql,
    replace_schema,
    state_files,
)
from loadsmith.engine.workspace.names import Names

#: States that are read back; more loads than that under one name at once would be too many.
HISTORY = 100


#: Schemas that are read back. Each is of one part of a load, as that part left it.
SCHEMA_HISTORY = 1000


def restore_state(
    pipeline: Any, *, names: Names, owns: Callable[[str], bool] | None = None
) -> None:
    """Take the state and the schemas from the destination, where it keeps them.

    Args:
        pipeline: The pipeline of this run.
        names: Those of the slice of this run.
        owns: Tells of a resource whether this load, a part of a larger one, loads it. Its schema is
            then that of its own tables: dlt's work grows with all tables of a schema, and the
            newest schema may be of another part that knew nothing of them.
    """
    schemas = _local_schemas(pipeline) if owns and names.shares_state else {}
    if not pipeline.config.restore_from_destination or pipeline.dev_mode:
        return
    pipeline.sync_destination()
    if pipeline.has_pending_data:
        return
    released = names.state if names.released is None else names.released.state
    if released != names.state and not pipeline.state.get("sources"):
        _take_over_state(pipeline, released)
    if not names.shares_state:
        return
    if owns:
        _keep_own_tables(pipeline, owns, schemas)
    states = [own["sources"] for _, own in _fetch_states(pipeline, names.state)]
    if len(states) < 2:
        return
    with pipeline.managed_state() as state:
        state["sources"] = merged_sources(states)


def _take_over_state(pipeline: Any, released: str) -> None:
    """Go on from the state that a slice has in the destination under its released name."""
    states = list(_fetch_states(pipeline, released))
    if not states:
        return
    newest = states[-1][1]
    with pipeline.managed_state() as state:
        for key in ("sources", "schema_names", "default_schema_name"):
            if key in newest:
                state[key] = newest[key]
    # The schemas that the state names come with it.
    pipeline.sync_destination()


def own_tables(
    versions: Iterable[Mapping[str, Any]], owns: Callable[[str], bool]
) -> dict[str, Any]:
    """Return the tables of the resources that `owns` names, each as its newest version has it.

    Args:
        versions: The tables of versions of one schema, the newest first.
        owns: Tells whether a resource is one of them.
    """
    newest: dict[str, Any] = {}
    for tables in versions:
        for name, table in tables.items():
            newest.setdefault(name, table)

    def is_own(name: str) -> bool:
        seen = set[str]()
        while (parent := newest[name].get("parent")) in newest and name not in seen:
            seen.add(name)
            name = str(parent)
        return name.startswith("_dlt_") or owns(str(newest[name].get("resource") or name))

    return {name: table for name, table in newest.items() if is_own(name)}


def _local_schemas(pipeline: Any) -> dict[str, Any]:
    return {name: pipeline.schemas[name].to_dict() for name in pipeline.schemas.list_schemas()}


def _keep_own_tables(
    pipeline: Any, owns: Callable[[str], bool], local: Mapping[str, Mapping[str, Any]]
) -> None:
    """Leave the tables of this load alone in the schemas of the working directory."""
    if exports_schemas(pipeline):
        # Whoever exports schemas wants to have all of them in the file.
        return
    for name in pipeline.schemas.list_schemas():
        client: Any = pipeline.destination_client(name)
        if isinstance(client, FSClientBase):
            continue
        current = pipeline.schemas[name].to_dict()
        versions = [version["tables"] for version in _query_schemas(client, name)]
        if not versions:
            continue
        before = [local[name]["tables"]] if name in local else []
        tables = own_tables([*versions, *before, current["tables"]], owns)
        if tables != current["tables"]:
            replace_schema(pipeline, {**current, "tables": tables})


def merged_sources(states: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the newest value of every resource and every other key of every source.

    A value that an earlier state had already is a copy that a load carried along; only a value
    that was not seen before is a change.

    Args:
        states: The `sources` of pipeline states, the oldest first.
    """
    seen: dict[tuple[str, ...], set[str]] = {}
    newest: dict[tuple[str, ...], Any] = {}
    for sources in states:
        for path, value in _leaves(sources):
            text = json.dumps(value, sort_keys=True, default=str)
            known = seen.setdefault(path, set())
            if text not in known:
                known.add(text)
                newest[path] = value
    merged: dict[str, Any] = {}
    for path, value in newest.items():
        target = merged
        for key in path[:-1]:
            target = target.setdefault(key, {})
        target[path[-1]] = value
    return merged


def fetch_states_of_packages(pipeline: Any, names: Names) -> list[tuple[str, dict[str, Any]]]:
    """Ask for the `sources` of the last states of a slice and their packages, the oldest first."""
    found = list(_fetch_states(pipeline, names.state))
    if not found and names.released is not None:
        found = list(_fetch_states(pipeline, names.released.state))
    return [(load_id, state["sources"]) for load_id, state in found]


def _fetch_states(pipeline: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask for the last states that are stored under a name and their packages."""
    client: Any = pipeline.destination_client()
    with contextlib.suppress(DatabaseUndefinedRelation, DestinationUndefinedEntity), client:
        if isinstance(client, FSClientBase):
            texts = _read_state_files(client, name)
        elif isinstance(client, WithSqlClient):
            texts = _query_states(client, name)
        else:
            return
        for load_id, text in texts:
            state: dict[str, Any] = dict(decompress_state(text))
            yield load_id, {**state, "sources": state.get("sources", {})}


def _leaves(sources: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for source, own in sources.items():
        for key, value in own.items():
            if key != "resources":
                yield (source, key), value
                continue
            for resource, state in value.items():
                yield (source, "resources", resource), state


def _query_schemas(client: Any, schema_name: str) -> list[dict[str, Any]]:
    """Return the last versions of a schema, the newest first; none where there is no SQL."""
    if not isinstance(client, WithSqlClient):
        return []
    known: Any = client
    sql, naming = known.sql_client, known.schema.naming
    c_schema, c_name, c_inserted_at = (
        sql.escape_column_name(naming.normalize_path(name))
        for name in ("schema", "schema_name", "inserted_at")
    )
    table = sql.make_qualified_table_name(known.schema.version_table_name)
    top, bottom = limited_sql(known, SCHEMA_HISTORY)
    query = (
        f"SELECT {top} {c_schema} FROM {table} WHERE {c_name} = %s"
        f" ORDER BY {c_inserted_at} DESC {bottom}"
    )
    texts: list[str] = []
    with (
        contextlib.suppress(DatabaseUndefinedRelation, DestinationUndefinedEntity),
        known,
        sql.execute_query(query, schema_name) as cursor,
    ):
        texts = [row[0] for row in cursor.fetchall()]
    return [_schema_of(text) for text in texts]


def _schema_of(text: str) -> dict[str, Any]:
    # dlt compresses what is too long for a text of the destination.
    with contextlib.suppress(ValueError):
        text = zlib.decompress(base64.b64decode(text, validate=True)).decode()
    return dict(json.loads(text))


def _query_states(client: Any, pipeline_name: str) -> list[tuple[str, str]]:
    sql, naming = client.sql_client, client.schema.naming
    names = ("state", "_dlt_load_id", "load_id", "pipeline_name", "status")
    c_state, c_dlt_load_id, c_load_id, c_pipeline, c_status = (
        sql.escape_column_name(naming.normalize_path(name)) for name in names
    )
    states = sql.make_qualified_table_name(client.schema.state_table_name)
    loads = sql.make_qualified_table_name(client.schema.loads_table_name)
    top, bottom = limited_sql(client, HISTORY)
    query = (
        f"SELECT {top} l.{c_load_id}, s.{c_state} FROM {states} AS s JOIN {loads} AS l"
        f" ON l.{c_load_id} = s.{c_dlt_load_id} WHERE s.{c_pipeline} = %s AND l.{c_status} = 0"
        f" ORDER BY l.{c_load_id} DESC {bottom}"
    )
    with sql.execute_query(query, pipeline_name) as cursor:
        return [(str(row[0]), row[1]) for row in reversed(cursor.fetchall())]


def _read_state_files(client: Any, pipeline_name: str) -> list[tuple[str, str]]:
    return [
        (load_id, json.loads(client.fs_client.read_text(path, encoding="utf-8"))["state"])
        for load_id, path in sorted(state_files(client, pipeline_name))[-HISTORY:]
    ]
