"""Ask 7: what becomes of the rows that are there when a resource yields none."""

import importlib
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import pyarrow as pa
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTree

from loadsmith import (
    DagsterDltFactory,
    DagsterDltResource,
    DltLoadCollectionComponent,
    DltLoadSpecModel,
    build_definitions,
    dlt_assets,
)
from loadsmith.errors import ConfigError

STRATEGIES = ["truncate-and-insert", "insert-from-staging", "staging-optimized"]


class System:
    """A system that has rows, or none."""

    def __init__(self) -> None:
        self.listed: Any = [{"id": 1, "tags": ["a", "b"]}, {"id": 2, "tags": []}]
        self.other: Any = [{"id": 1}]

    def __call__(self, strategy: str = "truncate-and-insert") -> Any:
        replaced: Any = {"disposition": "replace", "strategy": strategy}

        @dlt.source(name="sys")
        def sys_source() -> Any:
            @dlt.resource(name="listed", write_disposition=replaced)
            def listed() -> Any:
                yield self.listed

            @dlt.resource(name="other", write_disposition=replaced)
            def other() -> Any:
                yield self.other

            return listed, other

        return sys_source()


COUNTS = (
    "SELECT (SELECT count(*) FROM ds.listed), (SELECT count(*) FROM ds.listed__tags),"
    " (SELECT count(*) FROM ds.other)"
)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("on_empty", ["truncate", "keep", "warn"])
def test_ask_07_rows_of_a_replaced_table_stay_where_they_are_to_be_kept(
    shop: Any, strategy: str, on_empty: str
) -> None:
    system = System()
    assets = shop.assets(lambda: system(strategy), on_empty=on_empty)
    shop.run(assets)
    assert shop.rows(COUNTS) == [(2, 2, 1)]
    system.listed, system.other = [], [{"id": 7}, {"id": 8}]
    told = shop.run(assets)
    assert shop.rows(COUNTS) == [(2, 2, 2) if on_empty == "keep" else (0, 0, 2)]
    event = told.events["dlt_sys_listed"]
    assert event["rows_loaded"] == 0
    assert event.get("empty", False) is (on_empty != "truncate")
    assert "empty" not in told.events["dlt_sys_other"]
    assert ("resource 'listed' yielded no row" in told.log) is (on_empty != "truncate")
    # Rows again replace what was kept.
    system.listed = [{"id": 9, "tags": ["z"]}]
    shop.run(assets)
    assert shop.rows(COUNTS) == [(1, 1, 2)]


@pytest.mark.parametrize(
    "page",
    [
        pa.table({"id": pa.array([], pa.int64())}),
        dlt.mark.materialize_table_schema(),
        None,
    ],
    ids=["arrow", "materialized", "none"],
)
def test_ask_07_a_page_without_rows_is_no_row(shop: Any, page: Any) -> None:
    pages: list[Any] = [[{"id": 1}]]

    @dlt.resource(name="listed", write_disposition="replace")
    def listed() -> Any:
        yield from pages

    @dlt_assets(dlt_source=listed_source(listed), dlt_pipeline=shop.pipeline, on_empty="keep")
    def kept(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
        yield from dlt.run(context=context)

    if isinstance(page, pa.Table):
        pages = [pa.table({"id": [1]})]
    shop.run(kept)
    pages = [page]
    shop.run(kept)
    assert shop.rows("SELECT id FROM ds.listed") == [(1,)]


def listed_source(resource: Any) -> Any:
    @dlt.source(name="sys")
    def sys_source() -> Any:
        return resource

    return sys_source()


@pytest.mark.parametrize("disposition", ["replace", "append"])
def test_ask_07_a_run_can_fail_before_anything_of_it_is_loaded(shop: Any, disposition: str) -> None:
    rows: list[Any] = [{"id": 1}]

    @dlt.resource(name="a", write_disposition="append")
    def a() -> Any:
        yield {"id": 1}

    @dlt.resource(name="b", write_disposition=disposition)
    def b() -> Any:
        yield rows

    @dlt.source(name="sys")
    def sys_source() -> Any:
        return a, b

    assets = shop.assets(sys_source(), on_empty="fail")
    shop.run(assets)
    rows.clear()
    told = shop.run(assets, fails=True)
    assert "resource 'b': no row came in this run, and on_empty is 'fail'" in told.failure
    assert told.events == {}
    assert shop.rows("SELECT (SELECT count(*) FROM ds.a), (SELECT count(*) FROM ds.b)") == [(1, 1)]
    rows.append({"id": 2})
    shop.run(assets)
    counts = (2, 1) if disposition == "replace" else (2, 2)
    assert shop.rows("SELECT (SELECT count(*) FROM ds.a), (SELECT count(*) FROM ds.b)") == [counts]


def test_ask_07_the_others_are_loaded_where_the_empty_one_may_fail_alone(shop: Any) -> None:
    system = System()
    assets = shop.assets(system, on_empty="fail", on_error="keep")
    shop.run(assets)
    system.listed, system.other = [], [{"id": 7}, {"id": 8}]
    told = shop.run(assets, fails=True)
    assert list(told.events) == ["dlt_sys_other"]
    assert shop.rows(COUNTS) == [(2, 2, 2)]


def test_ask_07_a_package_that_a_later_run_completes_keeps_the_rows_too(shop: Any) -> None:
    system = System()
    kept = shop.assets(system, on_empty="keep")
    shop.run(kept)
    system.listed, system.other = [], [{"id": 5}]
    # The table is in the way, so that the package is extracted and not loaded.
    shop.rows("ALTER TABLE ds.other RENAME COLUMN id TO old")
    shop.run(kept, fails=True)
    shop.rows("ALTER TABLE ds.other RENAME COLUMN old TO id")
    told = shop.run(kept, selection=["dlt_sys_other"])
    assert "completing 1 unfinished package" in told.log
    assert shop.rows(COUNTS) == [(2, 2, 1)]
    assert shop.rows("SELECT id FROM ds.other") == [(5,)]


def test_ask_07_the_launchpad_and_the_call_win_over_the_definition(shop: Any) -> None:
    system = System()
    assets = shop.assets(system, on_empty="fail")
    shop.run(assets)
    system.listed = []
    ops = {"loaded": {"config": {"on_empty": "keep"}}}
    shop.run(assets, run_config={"ops": ops})
    assert shop.rows(COUNTS) == [(2, 2, 1)]

    @dlt_assets(dlt_source=system, dlt_pipeline=shop.pipeline, on_empty="fail")
    def called(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
        yield from dlt.run(context=context, on_empty="kep")

    assert "Did you mean 'keep'?" in shop.run(called, fails=True).failure


MODULE = """
import os
import dlt

@dlt.resource(name="{name}", write_disposition="replace")
def listed():
    yield [{{"id": 1}}] * int(os.environ["ROWS"])

@dlt.source(name="crm")
def crm():
    return listed
"""


def definitions_of(
    door: str, home: Path, database: Path, on_empty: str, monkeypatch: pytest.MonkeyPatch
) -> dg.Definitions:
    destination = dlt.destinations.duckdb(str(database))
    home.mkdir(exist_ok=True)
    module = f"crm_of_{door}"
    code = MODULE.format(name="ds.listed" if door == "factory" else "listed")
    (home / f"{module}.py").write_text(code)
    if door == "project":
        (home / "workflows").mkdir()
        project = {"resource_kind": "dlt", "params": {"project_dir": str(home)}}
        (home / "dagster_config.yaml").write_text(yaml.safe_dump({"resources": [project]}))
        params = {
            "source_module": module,
            "destination": "duckdb",
            "destination_params": {"database": str(database)},
            "pipeline_params": {"dataset_name": "ds"},
            "on_empty": on_empty,
        }
        entry = {"asset_key": "crm/listed", "task_type": "dlt", "params": params}
        (home / "workflows" / "crm.yaml").write_text(yaml.safe_dump({"assets": [entry]}))
        return build_definitions(home)
    monkeypatch.syspath_prepend(str(home))
    written = importlib.import_module(module)
    if door == "factory":
        return DagsterDltFactory.build_definitions([written.listed], destination, on_empty=on_empty)
    pipeline = dlt.pipeline("crm", destination=destination, dataset_name="ds")
    load = DltLoadSpecModel(source=written.crm(), pipeline=pipeline, on_empty=on_empty)
    component = DltLoadCollectionComponent(loads=[load])
    return component.build_defs(ComponentTree.for_test().load_context)


@pytest.mark.parametrize("door", ["project", "component", "factory"])
def test_ask_07_every_door_that_owns_its_ops_takes_it(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    defs = definitions_of(door, tmp_path / "home", shop.database, "keep", monkeypatch)
    job = defs.resolve_implicit_global_asset_job_def()
    for rows in (2, 0):
        monkeypatch.setenv("ROWS", str(rows))
        assert job.execute_in_process(instance=shop.instance).success
        assert shop.rows("SELECT count(*) FROM ds.listed") == [(2,)]


def test_ask_07_a_wrong_word_is_refused(shop: Any) -> None:
    with pytest.raises(ConfigError, match=r"on_empty: take 'truncate', .* Did you mean 'keep'"):
        shop.assets(System(), on_empty="kepp")
    with pytest.raises(ConfigError, match=r"on_empty"):
        DltLoadSpecModel(source=System(), pipeline=shop.pipeline, on_empty="kepp")
