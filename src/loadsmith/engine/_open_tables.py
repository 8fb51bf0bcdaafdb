"""Delta and Iceberg tables of a dead load in, the same tables without its rows out.

Their files belong to the table's own log: a file that is deleted beside the log breaks the table,
so rows are taken out by a commit like any other. dlt opens such tables by its schema; what a dead
run left on another machine has none yet, so they are opened by what is in their folder.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

#: Values in one predicate: planners get slow beyond some thousands.
_IN_ONE_PREDICATE = 1000


class OpenTable(Protocol):
    """What the ledger needs of a table with a log."""

    def column(self, *names: str) -> Any:
        """Return columns as an Arrow table."""

    def delete(self, column: str, values: Iterable[str]) -> None:
        """Delete the rows that have one of the values, in commits of the table."""


def find_open_table(client: Any, name: str) -> OpenTable | None:
    """Return the table if it has a log; None where it is plain files or is not there."""
    folder = client.get_table_dir(name)
    files = client.fs_client
    if files.exists(client.pathlib.join(folder, "_delta_log")):
        return _DeltaTable(client, name)
    metadata = client.pathlib.join(folder, "metadata")
    if files.exists(metadata) and any(
        path.endswith(".metadata.json") for path in files.ls(metadata, detail=False)
    ):
        return _IcebergTable(client, name)
    return None


def delete_rows_of_load(client: Any, table: OpenTable, load_id: str) -> int:
    """Delete the rows of a root table that a package brought; return how many those were."""
    (c_load_id,) = _columns(client, "_dlt_load_id")
    removed: int = table.column(c_load_id)[c_load_id].to_pylist().count(load_id)
    if removed:
        table.delete(c_load_id, [load_id])
    return removed


def delete_orphans(client: Any, table: OpenTable, parent: OpenTable | None) -> int:
    """Delete the rows of a nested table that hang from no row; return how many those were."""
    import pyarrow.compute as pc

    c_id, c_parent_id = _columns(client, "_dlt_id", "_dlt_parent_id")
    parents = table.column(c_parent_id)[c_parent_id].combine_chunks()
    if parent is not None:
        known = parent.column(c_id)[c_id].combine_chunks()
        parents = parents.filter(pc.invert(pc.is_in(parents, value_set=known.cast(parents.type))))
    if len(parents):
        table.delete(c_parent_id, pc.unique(parents).to_pylist())
    return len(parents)


def _columns(client: Any, *names: str) -> list[str]:
    return [client.schema.naming.normalize_path(name) for name in names]


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    left = iter(values)
    while chunk := list(islice(left, _IN_ONE_PREDICATE)):
        yield chunk


class _DeltaTable:
    def __init__(self, client: Any, name: str) -> None:
        from deltalake import DeltaTable
        from dlt.common.libs.deltalake import deltalake_storage_options

        options = deltalake_storage_options(
            client.config.credentials, client.config.deltalake_storage_options
        )
        location = client.get_open_table_location("delta", name)
        self._table: Any = DeltaTable(location, storage_options=options)

    def column(self, *names: str) -> Any:
        """Return columns as an Arrow table, read by Delta's own engine.

        `to_pyarrow_table` reads through a file system of Python's, which Arrow's threads let go of
        late: where the process ends meanwhile, it is aborted.
        """
        import pyarrow as pa
        from deltalake import QueryBuilder

        listed = ", ".join(f'"{name}"' for name in names)
        engine = QueryBuilder().register("rows", self._table)
        found = pa.table(engine.execute(f"SELECT {listed} FROM rows"))
        return found.cast(pa.schema([(name, pa.string()) for name in names]))

    def delete(self, column: str, values: Iterable[str]) -> None:
        for chunk in _chunks(values):
            listed = ", ".join("'" + value.replace("'", "''") + "'" for value in chunk)
            self._table.delete(f'"{column}" IN ({listed})')


class _IcebergTable:
    def __init__(self, client: Any, name: str) -> None:
        from dlt.common.libs.pyiceberg import evolve_table

        self._table: Any = evolve_table(
            catalog=client.get_open_table_catalog("iceberg"),
            fs_client=client.fs_client,
            config=client.config,
            table_id=f"{client.dataset_name}.{name}",
            table_location=client.get_open_table_location("iceberg", name),
        )

    def column(self, *names: str) -> Any:
        return self._table.scan(selected_fields=names).to_arrow()

    def delete(self, column: str, values: Iterable[str]) -> None:
        from pyiceberg.expressions import In

        for chunk in _chunks(values):
            self._table.delete(In(term=column, literals=set(chunk)))
