"""A schema file says which tables belong to which resource; a damaged one says where."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import dlt
import pytest
import yaml

from loadsmith.engine.schema_files import read_schema_file, update_schema_file
from loadsmith.errors import ResolveError, SchemaFileNotFound
from loadsmith.model import SchemaChange
from loadsmith.testing import sources as awkward


@pytest.fixture
def export(tmp_path):
    def run(source, file_format="yaml"):
        pipeline = dlt.pipeline(
            f"exp_{source.name}",
            destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb")),
            pipelines_dir=str(tmp_path / "p"),
            export_schema_path=str(tmp_path / "export"),
        )
        pipeline.run(source)
        return pipeline, str(tmp_path / "export" / f"{source.name}.schema.yaml")

    return run


def test_tables_belong_to_resources_whatever_their_names(export):
    _, path = export(awkward.nested())
    file = read_schema_file(path)
    assert [table.name for table in file.tables_of("orders")] == [
        "orders",
        "orders__items",
        "orders__items__tags",
        "orders__codes",
    ]
    assert [table.name for table in file.tables_of("orders_archive")] == [
        "orders_archive",
        "orders_archive__lines",
    ]
    assert file.tables[0].primary_key == ("id",)
    assert not [table for table in file.tables if table.name.startswith("_dlt")]


def test_tables_chosen_per_row_belong_to_their_resource(export):
    _, path = export(awkward.chosen_per_row())
    assert {table.name for table in read_schema_file(path).tables_of("events")} == {
        "event_click",
        "event_click__at",
        "event_view",
    }


def test_reading_needs_no_dlt(export):
    _, path = export(awkward.merging())
    code = (
        "import sys\n"
        "from loadsmith.engine.schema_files.file import read_schema_file\n"
        f"read_schema_file({path!r})\n"
        "assert 'dlt' not in sys.modules and 'dagster' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_is_parsed_once_and_again_when_it_changes(export, tmp_path):
    _, path = export(awkward.merging())
    assert read_schema_file(path) is read_schema_file(path)
    before = read_schema_file(path)
    Path(path).write_text(Path(path).read_text() + "\n")
    assert read_schema_file(path) is not before


def test_a_missing_file_is_named_as_it_was_written():
    with pytest.raises(SchemaFileNotFound) as caught:
        read_schema_file("/x/schemas/a.yaml", written_as="schemas/a.yaml", remedy="Make it.")
    assert str(caught.value) == "Schema file not found at 'schemas/a.yaml'. Make it."


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: [", ":1:"),
        ("a: b\n  c: d: e", ":2:"),
        ("", "the file is empty"),
        ("- a\n- b", ":1:1"),
        ("name: x", "has no `tables`"),
        ("name: x\ntables: 3", "`tables` is not a mapping"),
        ("name: x\ntables: {a: 3}", "table 'a' is not a mapping"),
        ("name: x\ntables: {a: {columns: [1]}}", "`columns` of table 'a' is not a mapping"),
        ("name: x\ntables: {a: {columns: {b: 1}}}", "column 'b' of table 'a'"),
        ("name: x\ntables: {a: {parent: b}}", "has the parent 'b'"),
        ("name: x\ntables: {a: {parent: b}, b: {parent: a}}", "each other's parents"),
        ("a: !!python/object/apply:os.getcwd []", ":1:"),
        ("a: \x00", "not allowed in YAML"),
    ],
)
def test_a_damaged_file_is_an_error_of_ours(tmp_path, text, place):
    path = tmp_path / "x.schema.yaml"
    path.write_text(text)
    with pytest.raises(ResolveError) as caught:
        read_schema_file(str(path))
    assert str(caught.value).startswith(str(path))
    assert place in str(caught.value)


def test_bytes_that_are_no_text_are_an_error_of_ours(tmp_path):
    path = tmp_path / "x.schema.yaml"
    path.write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(ResolveError):
        read_schema_file(str(path))


def test_json_is_read_too(export, tmp_path):
    pipeline, path = export(awkward.merging())
    other = tmp_path / "x.schema.json"
    other.write_text(json.dumps(pipeline.default_schema.to_dict(), default=str))
    assert read_schema_file(str(other)).tables == read_schema_file(path).tables


def test_an_update_says_what_is_new_and_is_read_by_dlt(export, tmp_path):
    pipeline, _ = export(awkward.changing_types())
    path = str(tmp_path / "own" / "changing_types.schema.yaml")
    assert update_schema_file(pipeline.default_schema, path) == [
        SchemaChange(table="readings", kind="new table")
    ]
    assert update_schema_file(pipeline.default_schema, path) == []
    pipeline.run(
        [{"id": 4, "value": 1, "colour": "red", "parts": [{"n": 1}]}],
        table_name="readings",
        schema=pipeline.default_schema,
    )
    changes = update_schema_file(pipeline.default_schema, path)
    assert [(change.kind, change.table, change.column) for change in changes] == [
        ("new column", "readings", "colour"),
        ("new table", "readings__parts", None),
    ]
    assert dlt.Schema.from_dict(yaml.safe_load(Path(path).read_text())).name == "changing_types"


def test_an_update_keeps_tables_that_a_short_run_did_not_see(export, tmp_path):
    pipeline, path = export(awkward.nested())
    kept = str(tmp_path / "kept.schema.yaml")
    shutil.copy(path, kept)
    schema = pipeline.default_schema.clone()
    schema.drop_tables(["orders__codes"])
    assert update_schema_file(schema, kept) == []
    assert update_schema_file(schema, kept, prunes=lambda _resource: True) == [
        SchemaChange(table="orders__codes", kind="dropped table")
    ]
    assert [file.name for file in tmp_path.glob(".kept*")] == []


def test_an_update_keeps_the_type_of_a_column_that_did_not_come_this_time(export, tmp_path):
    pipeline, path = export(awkward.merging())
    kept = str(tmp_path / "kept.schema.yaml")
    shutil.copy(path, kept)
    schema = pipeline.default_schema.clone()
    table, column = next(
        (name, column["name"])
        for name in schema.data_table_names()
        for column in schema.tables[name]["columns"].values()
        if column.get("primary_key")
    )
    del schema.tables[table]["columns"][column]["data_type"]
    assert update_schema_file(schema, kept) == []
    assert [
        change.kind for change in update_schema_file(schema, kept, prunes=lambda _resource: True)
    ] == ["dropped column"]
