"""Ask 6: an op for each family of resources, with its own retries and its own failure."""

from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import pytest
import yaml
from dagster.components.core.component_tree import ComponentTree

from loadsmith import (
    DagsterDltFactory,
    DltLoadCollectionComponent,
    DltLoadSpecModel,
    build_definitions,
)
from loadsmith.errors import ConfigError

CALLS: list[str] = []


def family(*, cursor: bool = False, down: list[bool] | None = None) -> Any:
    """Make a source of a resource alone, and of one that feeds two others."""
    at: Any = dlt.sources.incremental("id") if cursor else None

    @dlt.source(name="shop")
    def shop_source() -> Any:
        @dlt.resource(name="alone", write_disposition="append")
        def alone() -> Any:
            CALLS.append("alone")
            if down and down.pop():
                raise ConnectionError("the system is down")
            yield {"id": 1}

        @dlt.resource(name="parent", write_disposition="append")
        def parent(at: Any = at) -> Any:
            CALLS.append("parent")
            yield [{"id": 1}, {"id": 2}]

        @dlt.transformer(name="first", data_from=parent, write_disposition="append")
        def first(item: Any) -> Any:
            yield from ({"of": row["id"]} for row in item)

        @dlt.transformer(name="second", data_from=parent, write_disposition="append")
        def second(item: Any) -> Any:
            yield from ({"of": row["id"]} for row in item)

        return alone, parent, first, second

    return shop_source()


def ops_of(defs: dg.Definitions) -> dict[str, list[str]]:
    """Return the last parts of the keys of the op of each load."""
    graph = defs.resolve_asset_graph()
    found: dict[str, list[str]] = {}
    for key in sorted(graph.materializable_asset_keys):
        load = graph.get(key).assets_def.op.name.removeprefix("dlt_assets_")
        found.setdefault(load, []).append(key.path[-1])
    return found


def component_of(source: Any, pipeline: Any, **settings: Any) -> dg.Definitions:
    component = DltLoadCollectionComponent(
        loads=[DltLoadSpecModel(source=source, pipeline=pipeline, name="shop", **settings)]
    )
    return component.build_defs(ComponentTree.for_test().load_context)


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


ALL = ["alone", "first", "parent", "second"]


@pytest.mark.parametrize(
    ("granularity", "resources", "expected"),
    [
        ("source", None, {"shop": ALL}),
        ("component", None, {"shop__alone": ["alone"], "shop__parent": ALL[1:]}),
        ("table", None, {"shop__alone": ["alone"], "shop__parent": ALL[1:]}),
        ("component", ["first", "second"], {"shop": ["first", "second"]}),
        ("table", ["first", "second"], {"shop__first": ["first"], "shop__second": ["second"]}),
    ],
)
def test_ask_06_a_load_has_an_op_for_all_for_each_family_or_for_each_table(
    shop: Any, granularity: str, resources: Any, expected: Any
) -> None:
    chosen = {"resources": resources} if resources else {}
    defs = component_of(family(), shop.pipeline, granularity=granularity, **chosen)
    assert ops_of(defs) == expected
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process()
    assert result.success
    for name in resources or ALL:
        assert shop.rows(f"SELECT count(*) FROM ds.{name}") == [(1 if name == "alone" else 2,)]
    # Who feeds others is asked once, unless nobody asked for it to be loaded.
    assert CALLS.count("parent") == len([op for op in expected if op not in ("shop__alone",)])


def test_ask_06_each_op_fails_and_is_tried_again_alone(shop: Any) -> None:
    down = [True]
    defs = component_of(
        lambda: family(down=down),
        shop.pipeline,
        granularity="table",
        retry_policy={"max_retries": 1},
    )
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=shop.instance).success
    assert sorted(CALLS) == ["alone", "alone", "parent"]
    down += [True, True]
    result = job.execute_in_process(instance=shop.instance, raise_on_error=False)
    assert not result.success
    assert {event.step_key for event in result.get_step_failure_events()} == {"shop__alone"}
    assert shop.rows("SELECT (SELECT count(*) FROM ds.alone), (SELECT count(*) FROM ds.first)") == [
        (1, 4)
    ]


@pytest.mark.parametrize("granularity", ["source", "component", "table"])
def test_ask_06_the_factory_takes_the_granularity(shop: Any, granularity: str) -> None:
    named = [dlt.resource([{"id": 1}], name=f"ds.{name}") for name in ("a", "b")]
    destination = dlt.destinations.duckdb(str(shop.database))
    defs = DagsterDltFactory.build_definitions(named, destination, granularity=granularity)
    ops = set(ops_of(defs))
    assert ops == ({"ds"} if granularity == "source" else {"ds__ds_a", "ds__ds_b"})
    collections = DagsterDltFactory.build_collection_definitions(
        {"crm": ["people", "firms"]},
        lambda _name: family(),
        destination,
        granularity=granularity,
        on_error="keep",
        on_empty="warn",
    )
    ops = set(ops_of(collections))
    assert ops == ({"crm"} if granularity == "source" else {"crm__people", "crm__firms"})


def test_ask_06_collections_that_load_are_kept_where_another_fails(shop: Any) -> None:
    @dlt.source(name="crm")
    def crm() -> Any:
        @dlt.resource(name="firms")
        def firms() -> Any:
            raise ConnectionError("no firms today")
            yield

        return dlt.resource([{"id": 1}], name="people"), firms

    destination = dlt.destinations.duckdb(str(shop.database))
    for on_error, loaded in (("fail", set()), ("keep", {"raw_crm/people"})):
        defs = DagsterDltFactory.build_collection_definitions(
            {"crm": ["people", "firms"]}, lambda _name: crm(), destination, on_error=on_error
        )
        job = defs.get_job_def("crm_assets")
        result = job.execute_in_process(raise_on_error=False)
        events = result.get_asset_materialization_events()
        assert {event.asset_key.to_user_string() for event in events} == loaded


def test_ask_06_a_wrong_granularity_is_told() -> None:
    named = [dlt.resource([{"id": 1}], name="ds.a")]
    with pytest.raises(ConfigError, match=r"granularity: take .* Did you mean 'table'\?"):
        DagsterDltFactory.build_definitions(named, granularity="tabel")


def project_of(
    home: Path, database: Path, module: str, *resources: str, **params: Any
) -> dg.Definitions:
    (home / "workflows").mkdir(parents=True, exist_ok=True)
    (home / "dagster_config.yaml").write_text(
        yaml.safe_dump(
            {"resources": [{"resource_kind": "dlt", "params": {"project_dir": str(home)}}]}
        )
    )
    load = {
        "source_module": module,
        "destination": "duckdb",
        "destination_params": {"database": str(database)},
        "pipeline_params": {"dataset_name": "ds"},
        **params,
    }
    entries = [
        {"asset_key": f"crm/{name}", "task_type": "dlt", "group_name": "g", "params": load}
        for name in resources
    ]
    (home / "workflows" / "crm.yaml").write_text(yaml.safe_dump({"assets": entries}))
    return build_definitions(home)


def write_module(home: Path, name: str, *, cursor: bool) -> None:
    home.mkdir(parents=True, exist_ok=True)
    at = ', at=dlt.sources.incremental("id")' if cursor else ""
    (home / f"{name}.py").write_text(
        f"""
import dlt

@dlt.source
def crm():
    @dlt.resource(write_disposition="append")
    def parent(more=0{at}):
        yield [{{"id": 1}}, {{"id": 2}}]

    @dlt.transformer(data_from=parent, write_disposition="append")
    def fed(rows):
        yield [{{"of": row["id"]}} for row in rows]

    return parent, fed
"""
    )


def test_ask_06_a_project_splits_entries_that_are_one_load(shop: Any, tmp_path: Path) -> None:
    home = tmp_path / "odp_config"
    write_module(home, "crm_plain", cursor=False)
    options = {"granularity": "table", "on_empty": "keep", "on_error": "keep"}
    defs = project_of(home, shop.database, "crm_plain", "parent", "fed", **options)
    assert ops_of(defs) == {"crm__parent": ["parent"], "crm__fed": ["fed"]}
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=shop.instance)
    log = "\n".join(entry.user_message for entry in shop.instance.all_logs(result.run_id))
    # A file does not tell who feeds whom.
    assert "'parent' is read for resource 'fed', and by another op of this load" in log
    assert shop.rows("SELECT (SELECT count(*) FROM ds.parent), (SELECT count(*) FROM ds.fed)") == [
        (2, 2)
    ]


def test_ask_06_a_cursor_is_not_moved_by_two_ops(shop: Any, tmp_path: Path) -> None:
    home = tmp_path / "odp_config"
    write_module(home, "crm_cursor", cursor=True)
    defs = project_of(home, shop.database, "crm_cursor", "parent", "fed", granularity="component")
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=shop.instance, raise_on_error=False)
    failed = result.get_step_failure_events()
    assert {event.step_key for event in failed} == {
        "dlt_assets_crm__parent",
        "dlt_assets_crm__fed",
    }
    for event in failed:
        assert "the cursor of 'parent' can be in one place only" in (
            event.step_failure_data.error_display_string
        )
    found = shop.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'ds'")
    assert not {("parent",), ("fed",)}.intersection(found)
    together = project_of(home, shop.database, "crm_cursor", "parent", "fed")
    assert ops_of(together) == {"crm": ["fed", "parent"]}
