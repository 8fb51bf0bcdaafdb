"""A load is looked at before it runs, by its schema file or its source, and nothing changes."""

import copy
import json

import dlt
import pytest

from loadsmith.engine.snapshots import inspect_load, inspect_source, read_snapshot, write_snapshot
from loadsmith.errors import ResolveError, SchemaFileNotFound, SecretNotFound
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    LoadSnapshot,
    PipelineSettings,
    ResourceSelection,
    SourceReference,
)
from loadsmith.testing import sources as awkward


def define(source, **settings) -> LoadDefinition:
    return LoadDefinition(
        name="load",
        source=source,
        pipeline=PipelineSettings(pipeline_name="p", dataset_name="ds"),
        destination=DestinationReference(name="duckdb"),
        **settings,
    )


@pytest.fixture
def schema_file(tmp_path):
    pipeline = dlt.pipeline(
        "exp",
        destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb")),
        pipelines_dir=str(tmp_path / "p"),
        export_schema_path=str(tmp_path / "schemas" / "export"),
    )
    pipeline.run(awkward.nested())
    return str(tmp_path / "schemas" / "export" / "nested.schema.yaml")


def test_a_schema_file_gives_resources_and_tables(schema_file):
    source = SourceReference(module="no.such.module")
    found = inspect_load(define(source, schema_file_path=schema_file))
    assert [resource.name for resource in found.resources] == ["orders", "orders_archive"]
    assert (found.origin, found.source_name) == ("schema file", "nested")
    assert (found.pipeline_name, found.dataset_name, found.destination_name) == (
        "p",
        "ds",
        "duckdb",
    )
    assert found.version_hash


def test_a_selection_takes_the_resources_it_names(schema_file):
    source = SourceReference(module="no.such.module")
    one = ResourceSelection(include=("orders",))
    found = inspect_load(define(source, schema_file_path=schema_file, resources=one))
    assert [resource.name for resource in found.resources] == ["orders"]
    new = ResourceSelection(include=("orders", "refunds"))
    found = inspect_load(define(source, schema_file_path=schema_file, resources=new))
    assert found.resource("refunds").tables == ()


def test_a_missing_schema_file_is_named_relative_to_the_project(tmp_path):
    source = SourceReference(module="github.source", search_path=str(tmp_path))
    path = str(tmp_path / "schemas" / "export" / "github.schema.yaml")
    with pytest.raises(
        SchemaFileNotFound, match=r"Schema file not found at 'schemas/export/github.schema.yaml'"
    ):
        inspect_load(define(source, schema_file_path=path))


def test_a_live_source_is_described_and_left_as_it_was():
    source = awkward.transforming()
    before = copy.deepcopy(source.schema.to_dict())
    found = inspect_source(source)
    assert source.schema.to_dict() == before
    events = found.resource("user_events")
    assert (events.is_transformer, events.upstream, events.table_name) == (
        True,
        "users",
        "user_events",
    )
    assert [row["kind"] for row in source if "kind" in row] == ["login", "logout"] * 2


def test_a_source_over_a_generator_is_not_consumed():
    source = awkward.exhausted_after_one_run()
    inspect_source(source)
    assert len(list(source)) == 2


def test_hints_give_columns_keys_and_descriptions():
    accounts = inspect_source(awkward.merging()).resource("accounts")
    assert (accounts.write_disposition, accounts.primary_key) == ("merge", ("id",))
    orders = inspect_source(awkward.nested()).resource("orders")
    assert orders.description == "Orders of a shop."
    values = inspect_source(awkward.awkward_types()).resource("values")
    assert {column.name: column.data_type for column in values.tables[0].columns}["at"] == (
        "timestamp"
    )


def test_a_table_chosen_per_row_has_no_name_yet():
    events = inspect_source(awkward.chosen_per_row()).resource("events")
    assert (events.table_name, events.tables) == (None, ())


def test_names_are_those_of_the_destination():
    snapshot = inspect_source(awkward.unicode_names())
    assert snapshot.resources[0].name == "größen_名前"
    assert snapshot.resources[0].table_name == snapshot.resources[0].tables[0].name


@pytest.mark.parametrize("name", ["by_datetime", "by_date", "by_text", "by_number"])
def test_cursors_are_known(name):
    found = inspect_source(awkward.incremental_cursors())
    assert found.resource(name).incremental.cursor_path in ("at", "day")
    assert found.resource("without_cursor").incremental is None


def test_an_initial_value_is_text():
    resource = dlt.resource([{"at": 1}], name="r")
    resource.apply_hints(incremental=dlt.sources.incremental("at", initial_value=5))
    source = dlt.source(lambda: resource, name="s")()
    assert inspect_source(source).resource("r").incremental.initial_value == "5"


def test_a_snapshot_is_json_there_and_back(tmp_path):
    found = inspect_source(awkward.incremental_cursors())
    assert LoadSnapshot.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    path = str(tmp_path / "deep" / "snapshot.json")
    write_snapshot(found, path)
    assert read_snapshot(path) == found


def test_a_stored_snapshot_spares_asking_the_source(tmp_path):
    path = str(tmp_path / "snapshot.json")
    write_snapshot(inspect_source(awkward.nested()), path)
    source = SourceReference(module="no.such.module")
    only = ResourceSelection(exclude=("*_archive",))
    found = inspect_load(define(source, snapshot_path=path, resources=only))
    assert [resource.name for resource in found.resources] == ["orders"]


def test_a_schema_file_can_be_stored_as_a_snapshot(schema_file):
    assert [resource.name for resource in read_snapshot(schema_file).resources] == [
        "orders",
        "orders_archive",
    ]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"resources": [1]}', '{"resources": 1}'])
def test_a_damaged_snapshot_is_an_error_of_ours(tmp_path, text):
    path = tmp_path / "snapshot.json"
    path.write_text(text)
    with pytest.raises(ResolveError, match=r"snapshot\.json"):
        read_snapshot(str(path))


def test_names_are_enough_where_nobody_may_ask_the_source():
    source = SourceReference(module="github.source")
    named = define(source, resources=ResourceSelection(include=("pulls",)))
    found = inspect_load(named, may_ask_source=False)
    assert [(resource.name, resource.tables) for resource in found.resources] == [("pulls", ())]
    with pytest.raises(ResolveError, match="loadsmith schema"):
        inspect_load(define(source), may_ask_source=False)


def test_a_reference_is_asked_when_nothing_else_is_known():
    found = inspect_load(define(SourceReference(module="loadsmith.testing.sources.nested")))
    assert found.origin == "source"
    assert [resource.name for resource in found.resources] == ["orders", "orders_archive"]


def test_a_source_that_needs_a_secret_to_be_asked_says_which(monkeypatch):
    with pytest.raises(SecretNotFound, match="SECRETIVE__API_TOKEN' not found"):
        inspect_load(define(SourceReference(module="loadsmith.testing.sources.secretive")))
