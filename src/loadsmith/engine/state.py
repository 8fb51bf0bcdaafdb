"""The pipeline state in the destination in, the working directory's state out.

dlt takes the newest state as a whole. Loads that run side by side under one pipeline name each
store the whole state, in which only their own resources are up to date; so the newest value of
each resource is taken from the newest state that changed it.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.versioned_state import decompress_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import WithSqlClient

#: States that are read back; more loads than that under one name at once would be too many.
HISTORY = 100


def restore_state(pipeline: Any, *, shared: bool) -> None:
    """Take the state and the schemas from the destination, where it keeps them.

    Args:
        pipeline: The pipeline of this run.
        shared: Whether other loads may have stored states under the same name meanwhile.
    """
    if not pipeline.config.restore_from_destination or pipeline.dev_mode:
        return
    pipeline.sync_destination()
    if not shared or pipeline.has_pending_data:
        return
    states = list(fetch_states(pipeline))
    if len(states) < 2:
        return
    with pipeline.managed_state() as state:
        state["sources"] = merged_sources(states)


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


def fetch_states(pipeline: Any) -> Iterator[dict[str, Any]]:
    """Ask the destination for the `sources` of the pipeline's last states, the oldest first."""
    client: Any = pipeline.destination_client()
    with contextlib.suppress(DatabaseUndefinedRelation, DestinationUndefinedEntity), client:
        if isinstance(client, FSClientBase):
            texts = _read_state_files(client, pipeline.pipeline_name)
        elif isinstance(client, WithSqlClient):
            texts = _query_states(client, pipeline.pipeline_name)
        else:
            return
        for text in texts:
            yield dict(decompress_state(text).get("sources", {}))


def _leaves(sources: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for source, own in sources.items():
        for key, value in own.items():
            if key != "resources":
                yield (source, key), value
                continue
            for resource, state in value.items():
                yield (source, "resources", resource), state


def _query_states(client: Any, pipeline_name: str) -> list[str]:
    sql, naming = client.sql_client, client.schema.naming
    names = ("state", "_dlt_load_id", "load_id", "pipeline_name", "status")
    c_state, c_dlt_load_id, c_load_id, c_pipeline, c_status = (
        sql.escape_column_name(naming.normalize_path(name)) for name in names
    )
    states = sql.make_qualified_table_name(client.schema.state_table_name)
    loads = sql.make_qualified_table_name(client.schema.loads_table_name)
    top, bottom = sql._limit_clause_sql(HISTORY)
    query = (
        f"SELECT {top} s.{c_state} FROM {states} AS s JOIN {loads} AS l"
        f" ON l.{c_load_id} = s.{c_dlt_load_id} WHERE s.{c_pipeline} = %s AND l.{c_status} = 0"
        f" ORDER BY l.{c_load_id} DESC {bottom}"
    )
    with sql.execute_query(query, pipeline_name) as cursor:
        return [row[0] for row in reversed(cursor.fetchall())]


def _read_state_files(client: Any, pipeline_name: str) -> list[str]:
    found = [
        (parts[1], path)
        for path, parts in client._list_dlt_table_files(
            client.schema.state_table_name, pipeline_name
        )
    ]
    return [
        json.loads(client.fs_client.read_text(path, encoding="utf-8"))["state"]
        for _, path in sorted(found)[-HISTORY:]
    ]
