"""`build_definitions_tests`, on definitions in Python that keep their promises and that do not."""

from pathlib import Path

import dagster as dg
import dlt
import duckdb
import pytest

from loadsmith import DagsterDltResource, dlt_assets
from loadsmith.testing import build_definitions_tests
from loadsmith.testing.sources import (
    failing_midway,
    incremental_cursors,
    merging,
    nested,
    transforming,
)

DEFINITIONS = """
import os
from pathlib import Path

import dagster as dg
import dlt

from loadsmith import DagsterDltResource, dlt_assets
from loadsmith.testing.sources import merging


def make_pipeline():
    return dlt.pipeline("accounts", destination="duckdb", dataset_name="accounts_data")


@dlt_assets(dlt_source=merging(), dlt_pipeline=make_pipeline)
def accounts(context: dg.AssetExecutionContext, loads: DagsterDltResource):
    yield from loads.run(context=context)


defs = dg.Definitions(assets=[accounts], resources={"loads": DagsterDltResource()})
"""


def make_definitions(folder: Path, source) -> dg.Definitions:
    def make_pipeline():
        return dlt.pipeline(
            "suite",
            destination=dlt.destinations.duckdb(str(folder / "suite.duckdb")),
            dataset_name="shop",
            pipelines_dir=str(folder / "pipelines"),
        )

    @dlt_assets(dlt_source=source, dlt_pipeline=make_pipeline)
    def shop(context: dg.AssetExecutionContext, loads: DagsterDltResource):
        yield from loads.run(context=context)

    return dg.Definitions(assets=[shop], resources={"loads": DagsterDltResource()})


def test_definitions_in_python_pass_and_their_loads_run_twice(tmp_path):
    made = build_definitions_tests(make_definitions(tmp_path, nested), runs_loads=True)
    tests = made()
    tests.test_dagster_takes_all_definitions()
    tests.test_every_asset_has_a_key_of_its_own()
    tests.test_there_is_a_load()
    tests.test_metadata_is_plain_data()
    tests.test_every_load_runs_twice_and_reports_its_rows()


@pytest.mark.parametrize("source", [merging, nested, transforming, incremental_cursors])
def test_the_rows_that_are_reported_are_compared_with_those_that_are_there(tmp_path, source):
    tests = build_definitions_tests(make_definitions(tmp_path, source), runs_loads=True)()
    rows = tests.run_loads({})
    assert all(found.total == found.loaded for found in rows.values())
    tests.check_loads()


def test_rows_that_appear_beside_those_that_are_reported_are_told(tmp_path):
    """A load that writes into the table behind dlt's back has other rows than it says."""
    file = tmp_path / "suite.duckdb"

    @dlt.source
    def shop():
        @dlt.resource(write_disposition="append", columns={"id": {"data_type": "bigint"}})
        def orders():
            yield [{"id": 1}]

        return orders

    definitions = make_definitions(tmp_path, shop)
    tests = build_definitions_tests(definitions, runs_loads=True)()
    tests.run_loads({})

    class AndMore(tests.__class__):
        def run_loads(self, choices):
            rows = super().run_loads(choices)
            with duckdb.connect(str(file)) as connection:
                connection.execute("INSERT INTO shop.orders SELECT * FROM shop.orders")
            return rows

    with pytest.raises(
        AssertionError, match="the second run reported 1 rows; before it there were"
    ):
        AndMore().check_loads()


def test_definitions_by_name_are_watched(tmp_path, monkeypatch):
    (tmp_path / "my_defs.py").write_text(DEFINITIONS)
    monkeypatch.chdir(tmp_path)
    tests = build_definitions_tests("my_defs:defs")()
    tests.test_definitions_need_neither_network_nor_secret_nor_disk()


def test_a_load_that_fails_is_told_with_its_message(tmp_path):
    definitions = make_definitions(tmp_path, failing_midway)
    tests = build_definitions_tests(lambda: definitions, runs_loads=True)()
    with pytest.raises(AssertionError, match="no more after 5 rows"):
        tests.test_every_load_runs_twice_and_reports_its_rows()


def test_definitions_without_a_load_are_not_taken_for_sound():
    with pytest.raises(AssertionError, match="no asset of these definitions comes from a load"):
        build_definitions_tests(dg.Definitions())().test_there_is_a_load()


def test_keys_that_differ_in_case_alone_are_refused():
    specs = [dg.AssetSpec("shop/Orders"), dg.AssetSpec("shop/orders")]
    with pytest.raises(AssertionError, match="differ in case alone"):
        build_definitions_tests(
            dg.Definitions(assets=specs)
        )().test_every_asset_has_a_key_of_its_own()
