"""Delta and Iceberg tables in, their ids out, and the same tables without some rows.

Their files belong to the table's own log: a file that is deleted beside the log breaks the table,
so rows are taken out by a commit like any other. dlt opens such tables by its schema; what a dead
run left on another machine has none yet, so they are opened by what is in their folder.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from loadsmith.engine.locks import retry
from loadsmith.errors import RunError

#: Values in one predicate of Iceberg, each a commit: 20,000 take a second or two.
_IN_ONE_PREDICATE = 20_000

#: Times that a commit is tried where those of others come before it; about half a minute.
_TRIES = 40


class OpenTable(Protocol):
    """What an undo needs of a table with a log; each read is of the table as it is then.

    Attributes:
        format: `delta` or `iceberg`.
    """

    format: str

    def columns(self, *names: str) -> Any:
        """Return columns as an Arrow table of texts."""

    def delete(self, column: str, values: Any) -> None:
        """Delete the rows that have one of the values of an Arrow array, in commits of the table.

        Raises:
            RunError: Others commit to the table all the time.
        """


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


class _DeltaTable:
    format = "delta"

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def columns(self, *names: str) -> Any:
        """See `OpenTable`. Read by Delta's own engine.

        `to_pyarrow_table` reads through a file system of Python's, which Arrow's threads let go of
        late: where the process ends meanwhile, it is aborted.
        """
        import pyarrow as pa
        from deltalake import QueryBuilder

        listed = ", ".join(f'"{name}"' for name in names)
        engine = QueryBuilder().register("rows", self._open())
        found = pa.table(engine.execute(f"SELECT {listed} FROM rows"))
        return found.cast(pa.schema([(name, pa.string()) for name in names]))

    def delete(self, column: str, values: Any) -> None:
        """See `OpenTable`. A join takes any number of values in one commit."""
        import pyarrow as pa
        from deltalake.exceptions import CommitFailedError

        listed = pa.table({"value": values.cast(pa.string())})

        def commit() -> None:
            merge = self._open().merge(
                listed,
                f'"rows"."{column}" = "gone"."value"',
                source_alias="gone",
                target_alias="rows",
            )
            merge.when_matched_delete().execute()

        _commit_beside_others(self._name, commit, (CommitFailedError,))

    def _open(self) -> Any:
        from deltalake import DeltaTable
        from dlt.common.libs.deltalake import deltalake_storage_options

        config = self._client.config
        options = deltalake_storage_options(config.credentials, config.deltalake_storage_options)
        location = self._client.get_open_table_location("delta", self._name)
        return DeltaTable(location, storage_options=options)


class _IcebergTable:
    format = "iceberg"

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def columns(self, *names: str) -> Any:
        """See `OpenTable`."""
        import pyarrow as pa

        found = self._open().scan(selected_fields=names).to_arrow().select(names)
        return found.cast(pa.schema([(name, pa.string()) for name in names]))

    def delete(self, column: str, values: Any) -> None:
        """See `OpenTable`."""
        from pyiceberg import exceptions
        from pyiceberg.expressions import In

        # pyiceberg 0.9 has the first alone.
        names = ("CommitFailedException", "ValidationException")
        conflicts = tuple(getattr(exceptions, name) for name in names if hasattr(exceptions, name))
        for start in range(0, len(values), _IN_ONE_PREDICATE):
            listed = set(values.slice(start, _IN_ONE_PREDICATE).to_pylist())

            def commit(listed: set[str] = listed) -> None:
                self._open().delete(In(term=column, literals=listed))

            _commit_beside_others(self._name, commit, conflicts)

    def _open(self) -> Any:
        from dlt.common.libs.pyiceberg import evolve_table, is_ephemeral_catalog
        from pyiceberg.exceptions import NoSuchTableError

        client = self._client
        catalog = client.get_open_table_catalog("iceberg")
        table_id = f"{client.dataset_name}.{self._name}"
        if is_ephemeral_catalog(catalog):
            # It knows the table as this client saw it first.
            with contextlib.suppress(NoSuchTableError):
                catalog.drop_table(table_id)
        return evolve_table(
            catalog=catalog,
            fs_client=client.fs_client,
            config=client.config,
            table_id=table_id,
            table_location=client.get_open_table_location("iceberg", self._name),
        )


def _commit_beside_others(
    name: str, commit: Callable[[], None], conflicts: tuple[type[Exception], ...]
) -> None:
    """Commit to the table as it is; where others committed meanwhile, to what it is then."""

    def is_conflict(error: Exception) -> bool:
        return isinstance(error, conflicts)

    try:
        retry(commit, tries=_TRIES, pause=0.05, may_help=is_conflict)
    except conflicts as error:
        raise RunError(
            f"table '{name}': rows of a dead load could not be removed, for other loads"
            f" committed to the table {_TRIES} times meanwhile. Run the load again when"
            " fewer of them write.",
            stage="sync",
            load=name,
            table=name,
        ) from error
