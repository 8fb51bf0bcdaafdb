"""A source in; what there is to load in it out: tables, endpoints or files. Nothing is loaded."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urljoin

from loadsmith.engine.snapshots.inspect import inspect_source
from loadsmith.engine.sources import database_engine, is_sql_database, make_source
from loadsmith.errors import ResolveError, causes_of
from loadsmith.model import SourceReference

#: Files that are looked at; a bucket may have millions.
MOST_FILES = 10_000

#: Where an API often describes itself, from its base address.
_DESCRIPTIONS = ("openapi.json", "swagger.json", "")

#: What the names of columns have in them that say when a row was changed.
_CHANGED = ("updated", "modified", "changed", "created", "inserted")


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something that a source has.

    Attributes:
        name: Name of the table, the resource or the endpoint; the pattern of files.
        kind: `table`, `view`, `resource`, `endpoint` or `files`.
        columns: Its columns or fields, as far as they are known.
        primary_key: The columns of its primary key.
        cursor: Columns that may do as a cursor, for their names say when a row changed.
        detail: What else there is to say.
    """

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()
    cursor: tuple[str, ...] = ()
    detail: str | None = None


def discover_source(source: Any) -> list[Found]:
    """Return what a source has to load; it is asked for it.

    Args:
        source: A reference, or whatever else a load has as a source.

    Raises:
        ResolveError: The source cannot be made.
    """
    if isinstance(source, SourceReference):
        if is_sql_database(source):
            return list(_tables(source))
        kind = source.module.partition(".")[0]
        if kind == "rest_api":
            return list(_of_api(source))
        if kind == "filesystem":
            return list(_files(source))
    return list(_resources(make_source(source)))


def _tables(reference: SourceReference) -> Iterator[Found]:
    import sqlalchemy as sa

    schema = reference.params.get("schema")
    engine = database_engine(reference)
    try:
        inspector = sa.inspect(engine)
        if schema is not None and schema not in inspector.get_schema_names():
            known = ", ".join(inspector.get_schema_names())
            raise ResolveError(f"sql_database: there is no schema '{schema}'. There is: {known}.")
        views = set(inspector.get_view_names(schema=schema))
        both = sa.engine.reflection.ObjectKind.ANY
        columns = inspector.get_multi_columns(schema=schema, kind=both)
        keys = inspector.get_multi_pk_constraint(schema=schema)
    finally:
        engine.dispose()
    for place, own in sorted(columns.items(), key=lambda item: item[0][1]):
        name = place[1]
        key: Any = keys.get(place) or {}
        yield Found(
            name=name,
            kind="view" if name in views else "table",
            columns=tuple(str(column["name"]) for column in own),
            primary_key=tuple(key.get("constrained_columns") or ()),
            cursor=tuple(
                str(column["name"])
                for column in own
                if isinstance(column["type"], sa.DateTime | sa.Date)
                and any(word in str(column["name"]).lower() for word in _CHANGED)
            ),
        )


def _of_api(reference: SourceReference) -> Iterator[Found]:
    params = reference.params
    if params.get("resources"):
        source = make_source(reference)
        declared = {
            str(entry["name"]): entry
            for entry in params["resources"]
            if isinstance(entry, Mapping) and "name" in entry
        }
        for found in _resources(source, reads=True):
            yield _with_path(found, declared.get(found.name))
    yield from _endpoints(params.get("client") or {})


def _with_path(found: Found, entry: Mapping[str, Any] | None) -> Found:
    endpoint = (entry or {}).get("endpoint", {})
    endpoint = {"path": endpoint} if isinstance(endpoint, str) else endpoint
    path = endpoint.get("path") or found.name
    told = f"{str(endpoint.get('method', 'get')).upper()} {path}"
    return replace(found, detail="; ".join(filter(None, (told, found.detail))))


def _endpoints(client: Mapping[str, Any]) -> Iterator[Found]:
    """Yield what an API says of itself: its OpenAPI description, or the links of its root."""
    from dlt.sources.helpers.requests import Client
    from dlt.sources.rest_api.config_setup import create_auth

    base = client.get("base_url")
    if not base:
        return
    base = str(base).rstrip("/") + "/"
    auth: Any = create_auth(client.get("auth"))
    with closing(Client(request_max_attempts=1, raise_for_status=False).session) as session:
        for name in _DESCRIPTIONS:
            answer = session.get(urljoin(base, name), headers=client.get("headers"), auth=auth)
            found = list(_said_by(answer, base))
            if found:
                yield from found
                return


def _said_by(answer: Any, base: str) -> Iterator[Found]:
    try:
        body = answer.json() if answer.ok else None
    except ValueError:
        return
    if not isinstance(body, Mapping):
        return
    if isinstance(body.get("paths"), Mapping):
        yield from _of_description(body["paths"])
        return
    for key, value in body.items():
        if isinstance(value, str) and value.startswith(("http://", "https://", "/")):
            address = urljoin(base, value)
            if address.startswith(base):
                detail = f"GET {address.removeprefix(base)}"
                yield Found(name=str(key), kind="endpoint", detail=detail)


def _of_description(paths: Mapping[str, Any]) -> Iterator[Found]:
    for path, methods in sorted(paths.items()):
        get = methods.get("get") if isinstance(methods, Mapping) else None
        if get is None:
            continue
        summary = get.get("summary") if isinstance(get, Mapping) else None
        name = "_".join(
            part for part in path.strip("/").split("/") if part and not part.startswith("{")
        )
        told = "; ".join(filter(None, (f"GET {path}", summary)))
        yield Found(name=name or path, kind="endpoint", detail=told)


def _files(reference: SourceReference) -> Iterator[Found]:
    from itertools import islice

    from dlt.sources.filesystem import filesystem

    taken = ("bucket_url", "credentials", "file_glob", "kwargs", "client_kwargs")
    params = {name: reference.params[name] for name in taken if name in reference.params}
    params.setdefault("file_glob", "**")
    groups: dict[str, list[Any]] = {}
    count = 0
    for item in islice(filesystem(**params), MOST_FILES):
        count += 1
        path = PurePosixPath(item["relative_path"] or item["file_name"])
        suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
        groups.setdefault(str(path.parent / f"*{suffix}"), []).append(item)
    for pattern, items in sorted(groups.items()):
        size = sum(item["size_in_bytes"] or 0 for item in items)
        newest = max(str(item["modification_date"]) for item in items)
        plural = "" if len(items) == 1 else "s"
        yield Found(
            name=pattern,
            kind="files",
            detail=f"{len(items):,} file{plural}, {size:,} bytes, the newest of {newest[:19]}",
        )
    if count == MOST_FILES:
        yield Found(
            name="...", kind="files", detail=f"only the first {MOST_FILES:,} files were looked at"
        )


def _resources(source: Any, *, reads: bool = False) -> Iterator[Found]:
    """Yield the resources of a source; with `reads`, with the fields of a first page."""
    for known in inspect_source(source).resources:
        roots = known.root_tables
        fields = tuple(column.name for column in roots[0].columns) if len(roots) == 1 else ()
        detail = None
        if known.upstream is not None:
            detail = f"for each row of {known.upstream}"
        elif reads:
            fields, detail = _first_page(source, known.name, fields)
        cursor = (known.incremental.cursor_path,) if known.incremental else ()
        yield Found(
            name=known.name,
            kind="resource",
            columns=fields,
            primary_key=known.primary_key,
            cursor=cursor,
            detail=detail,
        )


def _first_page(source: Any, name: str, known: Iterable[str]) -> tuple[tuple[str, ...], str | None]:
    fields = dict.fromkeys(known)
    try:
        for row in source.with_resources(name).add_limit(1):
            fields.update(dict.fromkeys(map(str, row) if isinstance(row, Mapping) else ()))
    except Exception as error:  # noqa: BLE001 - an endpoint that fails is told, the others are shown
        root = list(causes_of(error))[-1]
        return tuple(fields), f"fails: {type(root).__name__}: {' '.join(str(root).split())[:200]}"
    return tuple(fields), None
