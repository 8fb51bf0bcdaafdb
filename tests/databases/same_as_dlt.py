"""A database loaded by plain dlt and by loadsmith, and what each of them makes of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.sql_database import sql_database

from loadsmith.engine.run import run_load
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    LoadResult,
    PipelineSettings,
    RunOptions,
    RunRequest,
    SourceReference,
)

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432"

#: Columns with their types, and rows, of each table of a dataset.
Tables = dict[str, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]


class Warehouse:
    """A destination, `duckdb` or `postgres`, that plain dlt and loadsmith load into."""

    def __init__(self, kind: str, folder: Path, database: str = "") -> None:
        self.kind, self.folder, self.database = kind, folder, database

    def pipeline(self, dataset: str, name: str | None = None) -> dlt.Pipeline:
        """Return a pipeline of plain dlt's into a dataset."""
        destination: Any = dlt.destinations.duckdb(str(self.folder / f"file_of_{dataset}.duckdb"))
        if self.kind == "postgres":
            destination = dlt.destinations.postgres(self.database)
        return dlt.pipeline(
            name or f"of_{dataset}",
            destination=destination,
            dataset_name=dataset,
            pipelines_dir=str(self.folder / "pipelines_of_dlt"),
        )

    def definition(
        self, dataset: str, source: dict[str, Any], options: RunOptions | None = None
    ) -> LoadDefinition:
        """Return a load of loadsmith's into a dataset."""
        module = source.pop("module", "sql_database")
        where = {"database": str(self.folder / f"file_of_{dataset}.duckdb")}
        if self.kind == "postgres":
            where = {"credentials": self.database}
        return LoadDefinition(
            name="load",
            source=SourceReference(module=module, params=source),
            destination=DestinationReference(name=self.kind, params=where),
            pipeline=PipelineSettings(
                pipeline_name=f"of_{dataset}",
                dataset_name=dataset,
                pipelines_dir=str(self.folder / "pipelines"),
            ),
            options=options or RunOptions(),
        )

    def load(
        self, dataset: str, options: RunOptions | None = None, **source: Any
    ) -> tuple[LoadResult, list[str]]:
        """Load a database by loadsmith; return its result and what it said."""
        return run(self.definition(dataset, source, options))

    def tables(self, dataset: str) -> Tables:
        """Return what is in a dataset, dlt's own tables and columns left out."""
        with self.pipeline(dataset, f"look_{dataset}").sql_client() as client:
            names = client.execute_sql(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", dataset
            )
            return {
                name: self._table(client, dataset, name)
                for (name,) in sorted(names)
                if not name.startswith("_dlt")
            }

    def _table(
        self, client: Any, dataset: str, name: str
    ) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        columns = client.execute_sql(
            "SELECT column_name, data_type, numeric_precision, numeric_scale"
            " FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
            " ORDER BY column_name",
            dataset,
            name,
        )
        kept = [tuple(column) for column in columns if not column[0].startswith("_dlt")]
        listed = ", ".join(f'"{column[0]}"' for column in kept)
        rows = client.execute_sql(f'SELECT {listed} FROM "{name}"') if kept else []
        plain = (tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in rows)
        return kept, sorted(plain, key=repr)


def run(definition: LoadDefinition, **request: Any) -> tuple[LoadResult, list[str]]:
    """Run a load; return its result and what it said."""
    said: list[str] = []
    with run_load(definition, RunRequest(log=said.append, warn=said.append, **request)) as result:
        return result, said


def ways(said: Sequence[str]) -> dict[str, str]:
    """Return which tables were read by ADBC, and which by dlt's backend."""
    return {
        line.split("'")[1]: "adbc" if "read by ADBC" in line else "dlt"
        for line in said
        if line.startswith("table '") and ": read by " in line
    }


def load_by_dlt(warehouse: Warehouse, dataset: str, credentials: str, **params: Any) -> None:
    """Load a database as plain dlt does by default."""
    warehouse.pipeline(dataset).run(sql_database(credentials, **params))


def create_table(
    execute: Callable[[str], Any], name: str, columns: dict[str, tuple[str, list[str]]]
) -> None:
    """Make a table with a column of each type: their values, and a row of NULL at the end.

    Args:
        execute: Runs a statement.
        name: Name of the table.
        columns: Type and values in SQL, by name of the column.
    """
    listed = ", ".join(f"{column} {kind}" for column, (kind, _) in columns.items())
    execute(f"CREATE TABLE {name} (id integer PRIMARY KEY, {listed})")
    for number in range(max(len(values) for _, values in columns.values()) + 1):
        row = [values[number] if number < len(values) else "NULL" for _, values in columns.values()]
        execute(f"INSERT INTO {name} VALUES ({number}, {', '.join(row)})")
