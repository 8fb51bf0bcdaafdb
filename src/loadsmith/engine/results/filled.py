"""Read from the load files of a run which columns have values."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loadsmith.engine.dlt_hooks import files_by_table
from loadsmith.engine.schema_files import column_snapshots, without_variant


class FilledColumns:
    """Counts the values of each column in the packages of a run, from the ends of Parquet files.

    Values that dlt put into a column of another type, such as `price__v_text`, count as values of
    `price`. A table with a file of another format is left out: its rows would have to be read.
    """

    def __init__(self) -> None:
        self.load_ids: set[str] = set()
        self._rows: Counter[str] = Counter()
        self._values: dict[str, Counter[str]] = {}
        self._unread: set[str] = set()

    def add(self, pipeline: Any, load_id: str) -> None:
        """Count the values of a normalized package; one that cannot be read fails no load."""
        self.load_ids.add(load_id)
        for table, paths in files_by_table(pipeline, load_id).items():
            try:
                self._read(table, paths)
            except Exception:  # noqa: BLE001 - the load says what is wrong with the file
                self._unread.add(table)

    def of(self, schema: Any, table: str) -> dict[str, str] | None:
        """Return "all", "some" or "none" for each column of a table; None if not known."""
        rows = self._rows[table]
        if not rows or table in self._unread:
            return None
        names = [column.name for column in column_snapshots(schema.tables[table])]
        values = self._values[table]
        found = {}
        for name in names:
            if name.lower().startswith("_dlt_") or without_variant(name) in {*names} - {name}:
                continue
            count = values[name]
            found[name] = "all" if count >= rows else "some" if count else "none"
        return found

    def _read(self, table: str, paths: Iterable[Path]) -> None:
        import pyarrow.parquet

        values = self._values.setdefault(table, Counter())
        for path in paths:
            if path.suffix != ".parquet":
                self._unread.add(table)
                return
            metadata = pyarrow.parquet.read_metadata(path)
            self._rows[table] += metadata.num_rows
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                for position in range(metadata.num_columns):
                    column = group.column(position)
                    # Lists and records have a column for each part, which counts as filled.
                    name, _, part = column.path_in_schema.partition(".")
                    known = column.statistics if not part else None
                    nulls = known.null_count if known and known.has_null_count else 0
                    values[without_variant(name)] += group.num_rows - nulls
                    if without_variant(name) != name:
                        values[name] += group.num_rows - nulls
