"""Normalizing by column gives what dlt's normalizer gives: tables, columns, types, values, ids."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import countryinfo
import dlt
import pyarrow.parquet as pq
import pytest
from dlt.common.configuration.container import Container
from dlt.common.json import PUA_START, json
from dlt.common.normalizers.json.helpers import get_nested_row_hash
from dlt.common.schema import Schema
from dlt.common.schema.utils import new_table
from dlt.common.storages import (
    LoadStorage,
    LoadStorageConfiguration,
    NormalizeStorage,
    NormalizeStorageConfiguration,
)
from dlt.common.wei import Wei
from dlt.normalize.configuration import NormalizeConfiguration
from dlt.normalize.exceptions import NormalizeJobFailed
from dlt.normalize.worker import w_normalize_files
from hypothesis import HealthCheck, Phase, event, given, settings, strategies as st

from loadsmith.engine.normalizing import arrow_normalizer, items as _arrow_items
from loadsmith.engine.normalizing.columns import ArrowReport

Page = list[Any]

# Files that come after the first one, with the names of their tables.
Files = Sequence[tuple[str, Sequence[Page]]]


@dataclass
class Normalized:
    """What one run of dlt's normalize worker made, with ids replaced by the places of rows."""

    error: str | None
    schema: Any
    tables: Mapping[str, tuple[str, list[dict[str, Any]]]]
    null_only: Any
    job: str | None = field(default=None, repr=False)


def normalize(
    pages: Sequence[Page], table: Mapping[str, Any], *, by_column: bool, more: Files = ()
) -> tuple[Normalized, ArrowReport]:
    capabilities = dlt.destinations.duckdb().capabilities()
    capabilities.preferred_loader_file_format = "parquet"
    capabilities.max_column_identifier_length = 40
    with TemporaryDirectory() as folder, Container().injectable_context(capabilities):
        schema = Schema("shapes")
        schema.update_table({**new_table("root", resource="root"), **deepcopy(dict(table))})
        extracted = NormalizeStorageConfiguration(f"{folder}/normalize")
        loads = LoadStorageConfiguration(f"{folder}/load")
        package = NormalizeStorage(True, extracted).extracted_packages
        LoadStorage(True, ["parquet"], loads).new_packages.create_package("1")
        package.create_package("1")
        file_names = []
        for number, (name, file_pages) in enumerate([("root", pages), *more]):
            file_names.append(f"1/new_jobs/{name}.{number}.0.typed-jsonl")
            lines = [json.typed_dumpb(page) + b"\n" for page in file_pages]
            package.storage.save(file_names[-1], b"".join(lines).decode())
        error, job, result = None, None, None
        with arrow_normalizer(by_column) as report:
            try:
                result = w_normalize_files(
                    NormalizeConfiguration(destination_capabilities=capabilities),
                    extracted,
                    loads,
                    schema.to_dict(),
                    "1",
                    file_names,
                )
            except NormalizeJobFailed as caught:
                error = f"{type(caught.__cause__ or caught.__context__)}"
                job = caught.job_id
        if result is None:
            return Normalized(error, None, {}, None, job), report
        tables: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        for metrics in result.file_metrics:
            name = Path(metrics.file_path).name.split(".")[0]
            file = pq.read_table(metrics.file_path)
            assert metrics.items_count == file.num_rows
            columns, rows = tables.get(name, ("", []))
            tables[name] = (f"{columns}\n{file.schema}", rows + file.to_pylist())
        without_ids(tables)
        return Normalized(None, result.schema_updates, tables, result.null_only_columns), report


def without_ids(tables: Mapping[str, tuple[str, list[dict[str, Any]]]]) -> None:
    """Replace ids by places, having seen that ids of nested rows are what dlt makes of parents.

    Below a row that brought its own id they begin with their package, "1.".
    """
    places: dict[str, str] = {}
    for name, (_columns, rows) in tables.items():
        for number, row in enumerate(rows):
            if "_dlt_parent_id" in row:
                assert row["_dlt_id"].removeprefix("1.") == get_nested_row_hash(
                    row["_dlt_parent_id"], name, row["_dlt_list_idx"]
                )
            if "_dlt_id" in row:
                places[row["_dlt_id"]] = f"{name} {number}"
    for _columns, rows in tables.values():
        for row in rows:
            for column in ("_dlt_id", "_dlt_parent_id", "_dlt_root_id"):
                if column in row:
                    row[column] = places[row[column]]


def assert_same(pages: Sequence[Page], table: Mapping[str, Any], more: Files = ()) -> ArrowReport:
    expected, _ = normalize(pages, table, by_column=False, more=more)
    actual, report = normalize(pages, table, by_column=True, more=more)
    assert repr(actual) == repr(expected)
    return report


NAMES = ["id", "Name", "a b", "a_b", "a__b", "camelCase", "", " ", "value", "list"]
NAMES += ["long_" * 9, "ünï", "1st"]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
zones = st.sampled_from([None, timezone.utc, timezone(timedelta(hours=5, minutes=30))])
moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=zones)
simple_values = [
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-5, 5),
    st.floats(),
    st.booleans(),
    texts,
    st.sampled_from(["2024-01-02T03:04:05Z", "2024-01-02", "1", "", "0x1f", "1e5", "\uf026 1"]),
    st.decimals(-1000, 1000, places=3),
    moments,
    moments.map(lambda moment: moment.isoformat()),
    st.dates(date(1970, 1, 2), date(2100, 1, 1)),
    st.times().map(lambda value: time(value.hour, value.minute, value.second, value.microsecond)),
    st.binary(max_size=5),
    st.builds(Wei, st.integers(0, 10)),
    st.uuids(),
    # Text that looks like what dlt marks the type of a value with, and cannot be read as one.
    st.builds(lambda code, text: chr(PUA_START + code) + text, st.integers(-1, 10), texts),
]


def fields(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of strategies: shapes of objects, of which records are drawn."""
    return st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=5).flatmap(
        lambda shape: st.sampled_from(
            [st.fixed_dictionaries(shape), st.fixed_dictionaries({}, optional=shape)]
        )
    )


def often(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, values, st.none())


simple = st.sampled_from([*simple_values, *map(often, simple_values)])
shapes = st.recursive(
    simple,
    lambda inner: st.one_of(
        fields(inner),
        fields(inner).map(often),
        inner.map(lambda values: st.lists(values, max_size=3)),
        st.tuples(inner, inner).map(lambda pair: st.one_of(*pair[:1] * 7, pair[1])),
    ),
    max_leaves=8,
)
tables = st.fixed_dictionaries(
    {},
    optional={
        "x-normalizer": st.integers(0, 2).map(lambda level: {"max_nesting": level}),
        "columns": st.dictionaries(
            st.sampled_from(["id", "name", "a_b", "camel_case"]),
            st.sampled_from(
                ["text", "bigint", "double", "bool", "timestamp", "json", "decimal", "binary"]
            ),
        ).map(
            lambda columns: {
                name: {"name": name, "data_type": data_type} for name, data_type in columns.items()
            }
        ),
        "write_disposition": st.sampled_from(["merge", "replace"]),
        "schema_contract": st.dictionaries(
            st.sampled_from(["tables", "columns", "data_type"]),
            st.sampled_from(["discard_row", "discard_value", "freeze"]),
            min_size=1,
        ),
    },
)


@pytest.fixture
def every_record_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arrow_items, "_SLOW_RECORDS", 1)


@pytest.mark.usefixtures("every_record_is_tried")
@pytest.mark.parametrize("_share", range(4))
@settings(
    max_examples=80,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(table=tables, data=st.data())
def test_every_shape_becomes_what_dlt_makes_of_it(
    _share: int, table: Mapping[str, Any], data: st.DataObject
) -> None:
    if table.get("write_disposition") == "merge":
        columns = {**table.get("columns", {}), "id": {"name": "id", "primary_key": True}}
        table = {**table, "columns": columns}
    records = data.draw(fields(shapes).map(lambda shape: st.lists(shape, max_size=6)))
    pages = data.draw(st.lists(records, min_size=1, max_size=3))
    report = assert_same([*pages, *pages], table)
    event("by column" if report.by_column else "by record only")


AWKWARD: list[dict[str, Any]] = [
    {
        "id": number,
        "big": 2**62 + number,
        **({"wei": Wei(10**25)} if number % 100 == 99 else {}),
        "price": Decimal("12.345") + number,
        "seen": datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=number % 5))),
        "local": datetime(2024, 1, 1, 12, number % 60),
        "text time": f"2024-01-01T00:00:{number % 60:02}+02:00",
        "day": date(2024, 1, 1) + timedelta(days=number),
        "hour": time(number % 24, 30),
        "raw": bytes([number % 256]),
        "Mixed": number if number % 100 else str(number) + "x",
        "sometimes": None if number % 3 else number,
        "never": None,
        "place": {"City": "Delft", "geo": {"lat": number / 7, "lon": None}},
        "tags": ["a", "b"][: number % 3],
        "lines": [{"sku": f"s{line}", "sizes": [[line], [1, 2]]} for line in range(number % 4)],
        "document": {"a": [number, None, {"b": "2024-01-01"}]},
    }
    for number in range(300)
]


def countries() -> Page:
    folder = Path(countryinfo.__file__).parent / "data"
    return [json.loadb(file.read_bytes()) for file in sorted(folder.glob("*.json"))]


def load(
    folder: Path,
    records: Page,
    *,
    by_column: bool,
    write_disposition: Any = "append",
    runs: int = 1,
) -> tuple[Any, dict[str, Any], list[ArrowReport]]:
    @dlt.resource(
        name="things",
        write_disposition=write_disposition,
        primary_key="id" if write_disposition != "append" else None,
        columns={"document": {"data_type": "json"}},
    )
    def things() -> Any:
        yield records[: len(records) // 3]
        yield from records[len(records) // 3 : len(records) // 2]
        yield records[len(records) // 2 :]

    name = "column" if by_column else "record"
    pipeline = dlt.pipeline(
        "awkward",
        destination=dlt.destinations.duckdb(str(folder / f"{name}.duckdb")),
        dataset_name="things",
        pipelines_dir=str(folder / name),
    )
    reports = []
    for _ in range(runs):
        with arrow_normalizer(by_column) as report:
            pipeline.run(things(), loader_file_format="parquet")
        reports.append(report)
    tables: dict[str, Any] = {}
    with pipeline.sql_client() as client:
        for table in pipeline.default_schema.data_tables():
            with client.execute_query(f'SELECT * FROM "{table["name"]}"') as cursor:
                columns = [(column[0], str(column[1])) for column in cursor.description]
                rows = [dict(zip(dict(columns), row, strict=True)) for row in cursor.fetchall()]
            for row in rows:
                row.pop("_dlt_load_id", None)
            tables[table["name"]] = (repr(columns), rows)
    if write_disposition == "append":
        without_ids(tables)
    else:
        # A merge gives rows in no order: a row is known by what it holds and who its parents are.
        for name, (columns, rows) in tables.items():
            kept = [{k: v for k, v in row.items() if k[:5] != "_dlt_"} for row in rows]
            tables[name] = (columns, sorted(map(repr, kept)))
    return pipeline.default_schema.to_dict()["tables"], tables, reports


@pytest.mark.parametrize("records", [AWKWARD, countries()], ids=["awkward", "countryinfo"])
def test_a_load_by_column_leaves_the_tables_of_a_load_by_record(
    tmp_path: Path, records: Page
) -> None:
    expected_schema, expected, _ = load(tmp_path, records, by_column=False)
    schema, tables, [report] = load(tmp_path, records, by_column=True)
    assert tables == expected
    assert repr(schema) == repr(expected_schema)
    assert report.by_column + report.by_record == len(records)


def test_most_awkward_records_are_taken_by_column(tmp_path: Path) -> None:
    _, _, [first, second] = load(tmp_path, AWKWARD, by_column=True, runs=2)
    assert first.by_column > first.by_record
    assert second.by_column > first.by_column


def test_a_merge_by_column_replaces_rows_and_their_nested_rows(tmp_path: Path) -> None:
    _, expected, _ = load(tmp_path, AWKWARD, by_column=False, write_disposition="merge", runs=2)
    _, tables, _ = load(tmp_path, AWKWARD, by_column=True, write_disposition="merge", runs=2)
    assert tables == expected
    assert len(tables["things"][1]) == len(AWKWARD)


@pytest.mark.parametrize("strategy", ["upsert", "scd2"])
def test_rows_whose_ids_are_hashes_are_left_to_dlt(tmp_path: Path, strategy: str) -> None:
    disposition = {"disposition": "merge", "strategy": strategy}
    records = [{"id": number, "tags": [1]} for number in range(50)]
    _, expected, _ = load(tmp_path, records, by_column=False, write_disposition=disposition)
    _, tables, [report] = load(tmp_path, records, by_column=True, write_disposition=disposition)
    assert tables == expected
    assert report.by_column == 0


def test_records_with_an_id_of_their_own_are_left_to_dlt() -> None:
    page = [{"_dlt_id": f"mine {number}", "tags": [1]} for number in range(40)]
    report = assert_same([page], {})
    assert report == ArrowReport(by_column=0, by_record=40)


def test_a_record_with_something_new_goes_alone_through_dlt() -> None:
    page: Page = [{"id": number, "tags": [{"a": number}]} for number in range(1000)]
    page[700]["colour"] = "red"
    page[800]["tags"].append({"a": "not a number"})
    report = assert_same([page], {})
    assert report.by_column > 900


def test_rows_of_two_lists_in_one_table_keep_their_order() -> None:
    page: Page = [{"id": 0, "rows": [{"": [number, number]}, {"": []}]} for number in range(40)]
    assert_same([page, page], {})


def test_pages_that_are_never_plain_are_not_tried_forever() -> None:
    page = [{"id": [number, {"a": 1}]} for number in range(40)]
    assert assert_same([page] * 6, {}).by_column == 0


def test_a_time_zone_that_is_configured_for_files_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_WRITER__TIMESTAMP_TIMEZONE", "Asia/Kolkata")
    page = [{"seen": datetime(2024, 1, 1, 12, tzinfo=timezone.utc)} for _ in range(40)]
    assert "Asia/Kolkata" in repr(normalize([page], {}, by_column=True)[0])
    assert assert_same([page], {}).by_column


@pytest.mark.parametrize("limit", ["DATA_WRITER__FILE_MAX_ITEMS", "DATA_WRITER__FILE_MAX_BYTES"])
def test_a_limit_of_files_makes_the_files_of_dlt(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv(limit, "10")
    monkeypatch.setenv("DATA_WRITER__BUFFER_MAX_ITEMS", "7")
    page = [{"id": number, "tags": [number, number, number]} for number in range(40)]
    assert assert_same([page, page], {}).by_column


@pytest.mark.usefixtures("every_record_is_tried")
def test_of_two_errors_the_one_that_dlt_raises_is_raised() -> None:
    columns = {
        "seen": {"name": "seen", "data_type": "timestamp"},
        "id": {"name": "id", "data_type": "bigint", "nullable": False},
    }
    good = {"seen": datetime(2024, 1, 1, tzinfo=timezone.utc), "id": 1}
    no_id = {**good, "id": None}
    too_early = {**good, "seen": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))}
    for bad in ([no_id, too_early], [too_early, no_id]):
        assert_same([[good], bad[:1], bad[1:]], {"columns": columns})
        assert_same([[good, *bad]], {"columns": columns})


@pytest.mark.usefixtures("every_record_is_tried")
def test_a_value_that_cannot_be_written_is_an_error_of_its_own_file() -> None:
    columns = {"amount": {"name": "amount", "data_type": "decimal"}}
    good, bad = {"amount": Decimal(1)}, {"amount": Decimal("1e60")}

    failed, _report = normalize(
        [[good, bad]], {"columns": columns}, by_column=True, more=[("root", [[good]])]
    )

    assert failed.job == "root.0.typed-jsonl"


@pytest.mark.usefixtures("every_record_is_tried")
def test_a_list_that_two_tables_share_has_the_columns_that_dlt_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATA_WRITER__BUFFER_MAX_ITEMS", "1")
    page = [{"id": number, "lines__x": [{"k": number}]} for number in range(5)]
    other = [{"x": [{"k": number, "new": "n"}]} for number in range(5)]
    mixed = [{"lines__x": [{"k": {"deep": 1}}, {"k": 5}]}]
    files = [("root__lines", [other]), ("root", [[*page, *mixed]])]
    assert assert_same([[*page, *mixed]], {}, files).by_column


def test_a_dlt_that_was_not_compared_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    page = [{"id": number} for number in range(40)]
    assert assert_same([page], {}).by_column
    monkeypatch.setattr(_arrow_items, "is_proven", lambda hook: False)
    assert assert_same([page], {}) == ArrowReport()


def test_outside_of_the_block_and_after_it_dlt_is_untouched() -> None:
    from dlt.normalize import worker
    from dlt.normalize.items_normalizers import JsonLItemsNormalizer

    with arrow_normalizer(), arrow_normalizer():
        assert worker.__dict__["JsonLItemsNormalizer"] is not JsonLItemsNormalizer
    assert worker.__dict__["JsonLItemsNormalizer"] is JsonLItemsNormalizer


def test_load_files_of_other_formats_are_left_to_dlt(tmp_path: Path) -> None:
    pipeline = dlt.pipeline(
        "rows",
        destination=dlt.destinations.duckdb(str(tmp_path / "rows.duckdb")),
        pipelines_dir=str(tmp_path),
    )
    with arrow_normalizer() as report:
        pipeline.run([{"id": 1}], table_name="things", loader_file_format="insert_values")
    assert report == ArrowReport()
