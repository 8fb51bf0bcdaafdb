"""The pipeline state in the destination in, the working directory's state out.

The newest value of each resource is that of `stored_states`, and what plain dlt has changed since.
"""

import base64
import contextlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.versioned_state import decompress_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.fs_client import FSClientBase
from dlt.destinations.sql_client import WithSqlClient

from loadsmith.engine.dlt_hooks import (
    exports_schemas,
    moment_of_package,
    replace_schema,
    state_files,
)
from loadsmith.engine.workspace.names import Names
from loadsmith.engine.workspace.stored_states import (
    LAST,
    STATE_TABLE,
    Path,
    leaves_of,
    marked_files,
    named_dataset,
    read_stored,
    sources_of,
)
from loadsmith.errors import ResolveError

#: Versions of a schema that are read at once. Each is of one part of a load, as that part left it.
_VERSIONS_AT_ONCE = 100


@dataclass(frozen=True)
class KnownState:
    """What the destination knows of a state.

    Attributes:
        leaves: The newest value of each resource and of each other key of each source.
        load_ids: The package that set each of them.
    """

    leaves: dict[Path, Any]
    load_ids: dict[Path, str]


def restore_state(
    pipeline: Any,
    *,
    names: Names,
    owns: Callable[[str], bool] | None = None,
    warn: Callable[[str], None] = lambda _line: None,
) -> None:
    """Take the state and the schemas from the destination, where it keeps them.

    What a package has set that the destination does not count as loaded any more is discarded: the
    destination was restored from a backup, or its dataset was dropped.

    Args:
        pipeline: The pipeline of this run.
        names: Those of the slice of this run.
        owns: Tells of a resource whether this load, a part of a larger one, loads it. Its schema is
            then that of its own tables: dlt's work grows with all tables of a schema, and the
            newest schema may be of another part that knew nothing of them.
        warn: Takes a line for each resource whose state is discarded or goes back.
    """
    schemas = _local_schemas(pipeline) if owns and names.shares_state else {}
    if not pipeline.config.restore_from_destination or pipeline.dev_mode:
        return
    before = pipeline.state.get("_version_hash")
    try:
        pipeline.sync_destination()
    except Exception:
        # It may be for a state that dlt cannot read, of which it says nothing.
        fetch_state(pipeline, names)
        raise
    if pipeline.has_pending_data:
        return
    released = names.state if names.released is None else names.released.state
    if released != names.state and not pipeline.state.get("sources"):
        _take_over_state(pipeline, released)
    if owns and names.shares_state:
        _keep_own_tables(pipeline, owns, schemas)
    known = fetch_state(pipeline, names)
    if known is None:
        return
    local = leaves_of(pipeline.state.get("sources", {}))
    if _texts(local) == _texts(known.leaves):
        return
    stayed = before == pipeline.state.get("_version_hash") and not names.shares_state
    for path, value in local.items():
        if path[1:-1] != ("resources",):
            continue
        if path not in known.leaves:
            warn(
                f"the state of resource '{path[-1]}' is discarded, its cursors with it: the package"
                " that set it is not in the destination any more, or never was. The resource"
                " is loaded from its start"
            )
        elif stayed and _text(value) != _text(known.leaves[path]):
            warn(
                f"the state of resource '{path[-1]}' goes back to that of package"
                f" {known.load_ids[path]}, its cursors with it: what was loaded later is not in the"
                " destination any more"
            )
    with pipeline.managed_state() as state:
        state["sources"] = sources_of(known.leaves)


def fetch_state(pipeline: Any, names: Names) -> KnownState | None:
    """Ask the destination for the state of a slice; None where it keeps none."""
    client: Any = pipeline.destination_client()
    if not _keeps_states(client):
        return None
    with client:
        found = read_stored(client, names.state)
        leaves = {one.path: one.value for one in found if one.is_marked}
        load_ids = {one.path: one.load_id for one in found if one.is_marked}
        greatest = [str(one.value) for one in found if one.path == LAST]
        last = max(greatest, key=moment_of_package, default=None)
        states = list(_fetch_states(client, names.state, last))
        if not found and not states and names.released is not None:
            states = list(_fetch_states(client, names.released.state, None))
    if last is None:
        # All that 0.1 or plain dlt has stored. A value that was there before is a copy.
        seen: set[tuple[Path, str]] = set()
        for load_id, own in states:
            for path, value in leaves_of(own["sources"]).items():
                if (path, _text(value)) not in seen:
                    seen.add((path, _text(value)))
                    leaves[path], load_ids[path] = value, load_id
    else:
        # Plain dlt began with the state before; only what it has changed is newer than ours.
        base: dict[Path, Any] = {}
        for load_id, own in states:
            now = leaves_of(own["sources"])
            for path, value in now.items():
                is_ours = moment_of_package(load_id) <= moment_of_package(last)
                if not is_ours and _text(value) != _text(base.get(path)):
                    leaves[path], load_ids[path] = value, load_id
            base = now
    leaves.pop(LAST, None)
    return KnownState(leaves, load_ids)


def _keeps_states(client: Any) -> bool:
    return isinstance(client, FSClientBase | WithSqlClient)


def _texts(leaves: Mapping[Path, Any]) -> dict[Path, str]:
    return {path: _text(value) for path, value in leaves.items()}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _take_over_state(pipeline: Any, released: str) -> None:
    """Go on from the state that a slice has in the destination under its released name."""
    client: Any = pipeline.destination_client()
    if not _keeps_states(client):
        return
    with client:
        states = list(_fetch_states(client, released, None))
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
    own: dict[str, Any] = {}
    seen = set[str]()
    for tables in versions:
        for name, table in tables.items():
            if name not in seen and (table.get("parent") in own or _is_own(name, tables, owns)):
                own[name] = table
        seen.update(tables)
    return own


def _is_own(name: str, tables: Mapping[str, Any], owns: Callable[[str], bool]) -> bool:
    passed = set[str]()
    while (parent := tables[name].get("parent")) in tables and name not in passed:
        passed.add(name)
        name = str(parent)
    return name.startswith("_dlt_") or owns(str(tables[name].get("resource") or name))


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
        versions = _query_schemas(client, name)
        newest = next(versions, None)
        if newest is None:
            continue
        before = [local[name]["tables"]] if name in local else []
        tables = own_tables(chain([newest], versions, before, [current["tables"]]), owns)
        if tables != current["tables"]:
            replace_schema(pipeline, {**current, "tables": tables})


def _fetch_states(
    client: Any, name: str, since: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask for the states of packages that are marked as loaded, the oldest first.

    Args:
        client: An open client.
        name: What they are stored under.
        since: Those that are newer than this package, and the one before them; None for all.
    """
    try:
        if isinstance(client, FSClientBase):
            texts = _read_state_files(client, name, since)
        else:
            texts = _query_states(client, name, since)
    except (DatabaseUndefinedRelation, DestinationUndefinedEntity):
        return
    for load_id, text in texts:
        try:
            state: dict[str, Any] = dict(decompress_state(text))
        except Exception as error:
            raise ResolveError(
                f"{client.schema.state_table_name} in {named_dataset(client)}: the state"
                f" of pipeline '{name}' that package {load_id} has set is damaged"
                f" ({type(error).__name__}). Restore the table from a backup; or delete that row or"
                f" file: cursors of loadsmith are in {STATE_TABLE}, too, and stay. Those that plain"
                " dlt has set with that package are lost, and go back to the state before."
            ) from error
        yield load_id, {**state, "sources": state.get("sources", {})}


def _query_schemas(client: Any, schema_name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the tables of each version of a schema, the newest first; nothing without SQL."""
    if not isinstance(client, WithSqlClient):
        return
    known: Any = client
    sql, naming = known.sql_client, known.schema.naming
    c_schema, c_name, c_inserted_at = (
        sql.escape_column_name(naming.normalize_path(name))
        for name in ("schema", "schema_name", "inserted_at")
    )
    table = sql.make_qualified_table_name(known.schema.version_table_name)
    query = f"SELECT {c_schema} FROM {table} WHERE {c_name} = %s ORDER BY {c_inserted_at} DESC"
    with (
        contextlib.suppress(DatabaseUndefinedRelation, DestinationUndefinedEntity),
        known,
        sql.execute_query(query, schema_name) as cursor,
    ):
        while rows := cursor.fetchmany(_VERSIONS_AT_ONCE):
            for (text,) in rows:
                yield _schema_of(text)["tables"]


def _schema_of(text: str) -> dict[str, Any]:
    # dlt compresses what is too long for a text of the destination.
    with contextlib.suppress(ValueError):
        text = zlib.decompress(base64.b64decode(text, validate=True)).decode()
    return dict(json.loads(text))


def _query_states(client: Any, pipeline_name: str, since: str | None) -> list[tuple[str, str]]:
    sql, naming = client.sql_client, client.schema.naming
    names = ("state", "_dlt_load_id", "load_id", "pipeline_name", "status")
    c_state, c_dlt_load_id, c_load_id, c_pipeline, c_status = (
        sql.escape_column_name(naming.normalize_path(name)) for name in names
    )
    states = sql.make_qualified_table_name(client.schema.state_table_name)
    loads = sql.make_qualified_table_name(client.schema.loads_table_name)
    source = (
        f"FROM {states} AS s JOIN {loads} AS l ON l.{c_load_id} = s.{c_dlt_load_id}"
        f" WHERE s.{c_pipeline} = %s AND l.{c_status} = 0"
    )
    order, arguments = f"ORDER BY l.{c_load_id}", [pipeline_name]
    if since is not None:
        before = f"SELECT MAX(l.{c_load_id}) {source} AND l.{c_load_id} <= %s"
        order = f"AND l.{c_load_id} >= COALESCE(({before}), '') {order}"
        arguments += [pipeline_name, since]
    with sql.execute_query(
        f"SELECT l.{c_load_id}, s.{c_state} {source} {order}", *arguments
    ) as rows:
        return [(str(load_id), text) for load_id, text in rows.fetchall()]


def _read_state_files(client: Any, pipeline_name: str, since: str | None) -> list[tuple[str, str]]:
    marked = marked_files(client)
    found = sorted(one for one in state_files(client, pipeline_name) if one[0] in marked)
    if since is not None:
        before = [one for one in found if one[0] <= since]
        found = found[max(len(before) - 1, 0) :]
    return [
        (load_id, _state_in(client.fs_client.read_text(path, "utf-8"))) for load_id, path in found
    ]


def _state_in(text: str) -> str:
    try:
        return str(json.loads(text)["state"])
    except (KeyError, TypeError, ValueError):
        # No state can be read from it; see `_fetch_states`.
        return ""
