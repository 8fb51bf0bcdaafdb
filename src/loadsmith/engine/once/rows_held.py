"""A package that is being loaded in, the rows that a SQL destination holds of it out."""

from typing import Any

from dlt.common.destination.client import WithStagingDataset
from dlt.common.schema.utils import get_nested_tables, get_root_table

from loadsmith.engine.dlt_hooks import (
    can_be_undone,
    is_appended,
    jobs_of,
    package_tables,
    rows_by_job,
)
from loadsmith.engine.once.entry import LedgerEntry
from loadsmith.engine.once.undo_sql import UNDEFINED, columns, hangs_from_nothing, of_package


def can_begin_anew(pipeline: Any, load_id: str) -> bool:
    """Tell whether all that a package appends can be removed again."""
    schema, names = package_tables(pipeline, load_id)
    return all(
        can_be_undone(schema, name) or not is_appended(pipeline, schema, name) for name in names
    )


class RowsHeld:
    """Counts the rows of one package, in its tables and in its files.

    Attributes:
        schema: The schema of the package.
        load_id: The package.
    """

    def __init__(self, client: Any, pipeline: Any, schema: Any, entry: LedgerEntry) -> None:
        self._client = client
        self._pipeline = pipeline
        self._entry = entry
        self.schema = schema
        self.load_id = entry.load_id

    def chain(self, table: str) -> list[str]:
        """Return the names of the root table of a table and of all that are nested in it."""
        root = str(get_root_table(self.schema.tables, table)["name"])
        return [str(found["name"]) for found in get_nested_tables(self.schema.tables, root)]

    def is_staged(self, table: str) -> bool:
        """Tell whether the rows of a table go through the staging dataset."""
        client = self._client
        return isinstance(client, WithStagingDataset) and (
            client.should_load_data_to_staging_dataset(table)
        )

    def is_merged(self, table: str) -> bool:
        """Tell whether rows take the place of those with the same key."""
        return self._disposition(table) == "merge" and not is_appended(
            self._pipeline, self.schema, table
        )

    def of_package(self, table: str) -> int | None:
        """Return the rows that the package brings; None where nobody has counted them."""
        return self._entry.rows.get(table, 0)

    def of_jobs(self, table: str) -> int | None:
        """Return the rows of the jobs that are done or being done; None where nobody counted."""
        jobs = jobs_of(self._pipeline, self.load_id)
        counted = rows_by_job(self._pipeline, self.load_id)
        rows = [
            counted.get(job.job_id())
            for folder in ("started_jobs", "completed_jobs")
            for job in jobs[folder]
            if job.table_name == table
        ]
        known = [count for count in rows if count is not None]
        return sum(known) if len(known) == len(rows) else None

    def before(self, table: str) -> int | None:
        """Return the rows that are where the jobs of a table write, roots loaded or not."""
        if self.is_staged(table):
            return self.staged(table)
        held, parent = self.loaded(table), self._parent_of(table)
        if held is None or parent is None:
            return held
        return held + self._count(table, hangs_from_nothing(self._client, table, parent))

    def staged(self, table: str) -> int:
        """Return the rows of the staging table, which is the load's own and empty at its start."""
        with self._client.sql_client.with_staging_dataset():
            return self._count(table, "1 = 1")

    def loaded(self, table: str) -> int | None:
        """Return the rows that hang from the package; None where they do not say so.

        A table that is replaced has no other rows.
        """
        if can_be_undone(self.schema, table):
            condition = of_package(self._client, table, self._parent_of)
            return self._count(table, condition, self.load_id)
        return self._count(table, "1 = 1") if self._disposition(table) == "replace" else None

    def forget_state(self) -> None:
        """Remove the state of the pipeline that came with the package; it comes again."""
        (c_load_id,) = columns(self._client, "_dlt_load_id")
        name = self._name(self.schema.state_table_name)
        self._client.sql_client.execute_sql(
            f"DELETE FROM {name} WHERE {c_load_id} = %s", self.load_id
        )

    def _disposition(self, table: str) -> str | None:
        return get_root_table(self.schema.tables, table).get("write_disposition")

    def _parent_of(self, table: str) -> str | None:
        parent = self.schema.tables[table].get("parent")
        return str(parent) if parent else None

    def _count(self, table: str, condition: str, *args: Any) -> int:
        try:
            found = self._client.sql_client.execute_sql(
                f"SELECT COUNT(*) FROM {self._name(table)} WHERE {condition}", *args
            )
        except UNDEFINED:
            return 0
        return int(found[0][0])

    def _name(self, table: str) -> str:
        name: str = self._client.sql_client.make_qualified_table_name(table)
        return name
