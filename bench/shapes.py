"""Normalize random records by column and as dlt does, and compare what comes out.

    python -m bench.shapes --examples 1000 --first-seed 0
    python -m bench.shapes --examples 1 --first-seed 4711

Each example is a schema with settings and one to three packages of records, all of them made from
its seed: odd keys, every type, objects and lists in one another, contracts, naming conventions,
dispositions, hints, limits of files, and root tables that share a table. What is compared is what
the later steps get: updates of the schema, the schema, null-only columns, counts, columns, types
and rows in their order, the rows of each file, and types of errors.

These differ, and are not compared:

* The texts of warnings, for dlt warns of a column each time that it makes the type of it.
* The order of files of different tables, for by column a page of one table is written before the
  next table is begun.
* Which of several errors of one package is raised; where the types differ, that is counted.
* Where a limit of bytes cuts a file, which is within a few rows of where dlt cuts it.
"""

import argparse
import copy
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.metrics import DataWriterMetrics
from dlt.common.normalizers.json.helpers import get_nested_row_hash
from dlt.common.schema import Schema
from dlt.common.storages import (
    LoadStorage,
    LoadStorageConfiguration,
    NormalizeStorage,
    NormalizeStorageConfiguration,
    ParsedLoadJobFileName,
)
from dlt.common.time import set_context_timezone, to_tzinfo
from dlt.normalize.configuration import NormalizeConfiguration
from dlt.normalize.exceptions import NormalizeJobFailed
from dlt.normalize.normalize import Normalize
from dlt.normalize.validate import (
    reconcile_null_only_columns,
    validate_and_update_schema,
    verify_normalized_table,
)
from dlt.normalize.worker import TWorkerRV, w_normalize_files

from bench.shapes_made import Example, Files, make_example
from bench.shapes_records import typed_lines
from loadsmith.engine.normalizing import arrow_normalizer, items as _arrow_items
from loadsmith.engine.normalizing.columns import ArrowReport

#: What was made of one package, by what it is called where it differs.
Made = dict[str, Any]


@dataclass
class Way:
    """One of the two ways through all packages of an example."""

    by_column: bool
    folder: Path
    schema: Schema
    capabilities: DestinationCapabilitiesContext
    is_cut_by_bytes: bool
    report: ArrowReport = field(default_factory=ArrowReport)

    def normalize(self, load_id: str, files: Files) -> Made:
        """Normalize a package, and bring the schema to where the next one begins."""
        extracted = NormalizeStorageConfiguration(str(self.folder / "normalize"))
        loads = LoadStorageConfiguration(str(self.folder / "load"))
        package = NormalizeStorage(True, extracted).extracted_packages
        LoadStorage(True, ["parquet"], loads).new_packages.create_package(load_id)
        package.create_package(load_id)
        names = []
        for number, (root, pages) in enumerate(files):
            names.append(f"{load_id}/new_jobs/{root}.f{number}.0.typed-jsonl")
            Path(package.storage.make_full_path(names[-1])).write_bytes(typed_lines(pages))
        with arrow_normalizer(self.by_column) as report:
            try:
                result = w_normalize_files(
                    NormalizeConfiguration(destination_capabilities=self.capabilities),
                    extracted,
                    loads,
                    self.schema.to_dict(),
                    load_id,
                    names,
                )
            except NormalizeJobFailed as error:
                return {"error": type(error.__cause__ or error.__context__).__name__}
            except Exception as error:  # noqa: BLE001 - whatever dlt raises, both ways have to
                return {"error outside of a file": type(error).__name__}
            finally:
                self.report.by_column += report.by_column
                self.report.by_record += report.by_record
        made = {
            # In the order of dlt, which is that of the columns at the destination.
            "schema updates": repr(result.schema_updates),
            "null-only columns": {
                table: sorted(columns) for table, columns in result.null_only_columns.items()
            },
            **tables_of(result.file_metrics, self.is_cut_by_bytes),
        }
        try:
            self._update_schema(load_id, result)
        except Exception as error:  # noqa: BLE001 - whatever dlt raises, both ways have to
            made["error of the schema"] = type(error).__name__
            return made
        stored: dict[str, Any] = {**self.schema.to_dict()}
        for name in ("version", "version_hash", "previous_hashes"):
            stored.pop(name, None)
        made["schema"] = repr(stored)
        return made

    def _update_schema(self, load_id: str, result: TWorkerRV) -> None:
        validate_and_update_schema(self.schema, result.schema_updates)
        nulls = reconcile_null_only_columns(self.schema, result.null_only_columns)
        # The method needs nothing of its step, and the check does without columns.
        nothing: Any = None
        for name in sorted({table_of(metrics) for metrics in result.file_metrics}):
            table = self.schema.tables[name]
            verify_normalized_table(self.schema, table, self.capabilities, nulls.get(name, nothing))
            Normalize.clean_x_normalizer(nothing, load_id, name, table)


def table_of(metrics: DataWriterMetrics) -> str:
    """Return the table that a file belongs to."""
    return ParsedLoadJobFileName.parse(metrics.file_path).table_name


def tables_of(files: Sequence[DataWriterMetrics], is_cut_by_bytes: bool) -> Made:
    """Read files, and return the columns, rows and counts of each table."""
    counts: Counter[str] = Counter()
    columns: dict[str, list[str]] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    rows_by_file: dict[str, list[tuple[int, int]]] = {}
    for metrics in files:
        name = table_of(metrics)
        with pq.ParquetFile(metrics.file_path) as file:
            table = file.read()
        counts[name] += metrics.items_count
        columns.setdefault(name, []).append(str(table.schema))
        rows.setdefault(name, []).extend(without_timestamps(table).to_pylist())
        rows_by_file.setdefault(name, []).append((metrics.items_count, table.num_rows))
    replace_ids(rows)
    made: Made = {"counts": counts}
    if is_cut_by_bytes:
        # A file has the columns that there were when it was begun.
        made["columns"] = {name: found[-1] for name, found in columns.items()}
        made["rows"] = {
            name: [
                repr({key: value for key, value in row.items() if value is not None})
                for row in found
            ]
            for name, found in rows.items()
        }
    else:
        made["columns"] = columns
        made["rows"] = {name: [repr(row) for row in found] for name, found in rows.items()}
        made["rows by file"] = rows_by_file
    return made


def without_timestamps(table: pa.Table) -> pa.Table:
    """Return the table with numbers for timestamps, of which Python does not hold all."""
    for number, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            values = table.column(number).cast(pa.int64())
            table = table.set_column(number, column.name, values)
    return table


def replace_ids(tables: Mapping[str, list[dict[str, Any]]]) -> None:
    """Replace ids, which are random, by the places of their rows, wherever they stand."""
    places: dict[Any, str] = {}
    for name, rows in sorted(tables.items()):
        for number, row in enumerate(rows):
            for column, value in row.items():
                if column.startswith("_dlt_id") and isinstance(value, (str, bytes)):
                    places.setdefault(value, f"@{name} {number}")
    for name, rows in tables.items():
        for row in rows:
            parent, index = row.get("_dlt_parent_id"), row.get("_dlt_list_idx")
            if parent is not None and index is not None:
                # What places cannot show: whether the id is made of that of the parent.
                is_made = row.get("_dlt_id") == get_nested_row_hash(parent, name, index)
                row["@made of the parent"] = is_made
            for column, value in row.items():
                # Shorter ones are values that a record brought.
                if isinstance(value, (str, bytes)) and len(value) > 3 and value in places:
                    row[column] = places[value]


@contextmanager
def surroundings(example: Example) -> Iterator[DestinationCapabilitiesContext]:
    """Set what an example sets for the whole process while the block runs."""
    capabilities = copy.copy(capabilities_of(example.destination))
    parquet = {
        "preferred_loader_file_format": "parquet",
        "preferred_staging_file_format": None,
        "supported_loader_file_formats": ["parquet", "insert_values", "jsonl"],
        "loader_file_format_selector": None,
    }
    for name, value in {**parquet, **example.capabilities}.items():
        setattr(capabilities, name, value)
    before = {name: os.environ.get(name) for name in example.environment}
    os.environ.update(example.environment)
    zone = set_context_timezone(to_tzinfo(example.timezone) if example.timezone else None)
    limits = _arrow_items._SLOW_RECORDS, _arrow_items._MISSES
    if example.slow_records is not None:
        _arrow_items._SLOW_RECORDS = example.slow_records
    _arrow_items._MISSES = example.misses
    try:
        with Container().injectable_context(capabilities):
            yield capabilities
    finally:
        _arrow_items._SLOW_RECORDS, _arrow_items._MISSES = limits
        set_context_timezone(zone)
        for name, variable in before.items():
            if variable is None:
                del os.environ[name]
            else:
                os.environ[name] = variable


@cache
def capabilities_of(destination: str) -> DestinationCapabilitiesContext:
    """Return what a destination of dlt's can do."""
    if destination == "duckdb":
        return dlt.destinations.duckdb().capabilities()
    if destination == "postgres":
        return dlt.destinations.postgres().capabilities()
    return dlt.destinations.filesystem("memory://shapes").capabilities()


def normalize(example: Example, *, by_column: bool) -> tuple[list[Made], ArrowReport]:
    """Normalize the packages of an example until one fails."""
    with TemporaryDirectory(prefix="shapes-") as folder, surroundings(example) as capabilities:
        way = Way(
            by_column,
            Path(folder),
            example.make_schema(),
            capabilities,
            example.is_cut_by_bytes,
        )
        loads: list[Made] = []
        for number, files in enumerate(example.loads, 1):
            loads.append(way.normalize(str(number), files))
            if "schema" not in loads[-1]:
                break
    return loads, way.report


def differences(expected: Sequence[Made], actual: Sequence[Made]) -> Iterator[str]:
    """Say what differs, and how."""
    nothing: Made = {}
    for number, (theirs, ours) in enumerate(zip_longest(expected, actual, fillvalue=nothing), 1):
        for name in dict.fromkeys([*theirs, *ours]):
            if theirs.get(name) != ours.get(name):
                first, second = excerpts(repr(theirs.get(name)), repr(ours.get(name)))
                yield f"load {number}, {name}\n  dlt:       {first}\n  by column: {second}"


def excerpts(first: str, second: str) -> tuple[str, str]:
    """Return what stands around the place where two texts begin to differ."""
    pairs = enumerate(zip(first, second, strict=False))
    shorter = min(len(first), len(second))
    start = max(0, next((place for place, (a, b) in pairs if a != b), shorter) - 150)
    return first[start : start + 500], second[start : start + 500]


def main() -> int:
    """Compare the examples and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument(
        "--first-seed", type=int, default=0, help="of the first example; each has the next one"
    )
    chosen = parser.parse_args()
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    # Of columns without a type and such, thousands of times.
    logging.disable(logging.WARNING)
    # Where a fingerprint is unknown, the comparison tells whether the loops still give the same.
    _arrow_items.is_forced = True
    print(f"dlt {dlt.__version__}, pyarrow {pa.__version__}", flush=True)
    sums: Counter[str] = Counter()
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.examples):
        example = make_example(seed)
        try:
            expected, _ = normalize(example, by_column=False)
            actual, report = normalize(example, by_column=True)
        except Exception:
            print(f"seed {seed} cannot be compared", file=sys.stderr)
            raise
        # Only the last package of an example can have failed.
        errors = [made[-1].get("error") for made in (expected, actual)]
        if all(errors) and errors[0] != errors[1]:
            sums["other_error"] += 1
            actual[-1]["error"] = errors[0]
        found = list(differences(expected, actual))
        for difference in found:
            print(f"seed {seed}, {difference}", flush=True)
        sums.update(loads=len(expected), by_column=report.by_column, by_record=report.by_record)
        sums.update(failed="schema" not in expected[-1], wrong=bool(found))
    print(
        f"{chosen.examples} examples with {sums['loads']} loads, of which {sums['failed']} fail in "
        f"dlt, {sums['other_error']} of them with another error: {sums['by_column']} records by "
        f"column, {sums['by_record']} by record, {sums['wrong']} examples differ"
    )
    return 1 if sums["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
