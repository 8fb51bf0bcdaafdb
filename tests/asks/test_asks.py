"""What users of dlt under Dagster asked for, by the number of the ask; each promise once.

Asks 1, 31 and 32, and what ask 3 says of runs that die, are in tests/reliability; ask 2 is in the
file beside this one. What other tests hold already is listed at the end, by ask.
"""

# dlt reads the cursor of a resource from a default argument.

import re
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import pytest
import yaml
from dlt.sources import incremental

from loadsmith import DagsterDltFactory, DagsterDltResource, build_definitions, dlt_assets
from loadsmith.assets.run_config import DltRunConfig
from loadsmith.testing import sources

ROOT = Path(__file__).parents[2]


def source_of(*resources: Any, name: str = "one") -> Any:
    @dlt.source(name=name)
    def one() -> Any:
        return resources

    return one()


def failing(*, fails: bool) -> Any:
    @dlt.resource(name="broken")
    def broken() -> Any:
        yield {"id": 1}
        if fails:
            raise ValueError("the API is down")

    return broken


def test_ask_03_a_destination_that_keeps_no_state_keeps_its_cursor(shop: Any) -> None:
    received: list[int] = []

    @dlt.destination(name="sink", batch_size=0)
    def sink(path: str, _table: Any) -> None:
        import pyarrow.parquet

        received.extend(pyarrow.parquet.read_table(path).column("id").to_pylist())

    @dlt.resource
    def events(at: Any = incremental("id", initial_value=0)) -> Any:
        yield [{"id": 1}, {"id": 2}]

    pipeline = dlt.pipeline("custom", destination=sink(loader_file_format="parquet"))
    assets = shop.assets(source_of(events), dlt_pipeline=pipeline)
    shop.run(assets)
    assert shop.run(assets).events["dlt_one_events"]["rows_loaded"] == 0
    assert received == [1, 2]


def test_ask_03_dev_mode_keeps_the_dataset_that_dlt_named(shop: Any) -> None:
    pipeline = dlt.pipeline(
        "dev",
        destination=dlt.destinations.duckdb(str(shop.database)),
        dataset_name="trial",
        dev_mode=True,
    )
    shop.run(shop.assets(sources.empty(), dlt_pipeline=pipeline))
    datasets = [
        name
        for (name,) in shop.rows("SELECT DISTINCT table_schema FROM information_schema.tables")
        if not name.endswith("staging")
    ]
    assert datasets == [pipeline.dataset_name]
    assert re.fullmatch(r"trial_\d+", datasets[0])


def test_ask_03_a_retry_after_a_load_that_failed_half_way_doubles_nothing(shop: Any) -> None:
    @dlt.resource(name="good", write_disposition="append")
    def good() -> Any:
        yield [{"id": 1}, {"id": 2}, {"id": 3}]

    @dlt.resource(name="late", write_disposition="append")
    def late() -> Any:
        yield [{"id": 1}]

    assets = shop.assets(source_of(good, late))
    shop.run(assets)
    # The table of the second resource is in the way, so that its load fails after the first one's.
    shop.rows("ALTER TABLE ds.late RENAME COLUMN id TO other")
    shop.run(assets, fails=True)
    rows_by_load = "SELECT count(*) FROM ds.{} GROUP BY _dlt_load_id"
    assert shop.rows(rows_by_load.format("good")) == [(3,)], "the failed load is not taken back"
    shop.rows("ALTER TABLE ds.late RENAME COLUMN other TO id")
    # The run that follows loads what the failed one extracted, and extracts nothing anew.
    shop.run(assets)
    assert shop.rows(rows_by_load.format("good")) == [(3,), (3,)]
    assert shop.rows(rows_by_load.format("late")) == [(1,), (1,)]


def test_ask_04_the_same_assets_run_twice_and_again_in_one_process(shop: Any) -> None:
    assets = shop.assets(sources.nested())
    seen = [shop.run(assets).events["dlt_nested_orders"] for _ in range(3)]
    schemas = [event["dagster/column_schema"] for event in seen]
    assert schemas[0] == schemas[1] == schemas[2]
    assert [column.name for column in schemas[0].columns][:2] == ["id", "customer__name"]


def test_ask_05_an_empty_load_with_row_counts_succeeds(shop: Any) -> None:
    @dlt_assets(dlt_source=sources.empty(), dlt_pipeline=shop.pipeline)
    def counted(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
        yield from dlt.run(context=context).fetch_row_count()

    told = shop.run(counted, selection=["dlt_empty_nothing"])
    assert told.events["dlt_empty_nothing"]["rows_loaded"] == 0


def test_ask_06_the_tables_that_loaded_are_reported_where_others_failed(shop: Any) -> None:
    @dlt.resource(name="fine")
    def fine() -> Any:
        yield {"id": 1}

    told = shop.run(shop.assets(source_of(failing(fails=True), fine), on_error="keep"), fails=True)
    assert list(told.events) == ["dlt_one_fine"]
    assert "1 of its resources failed, the others are loaded" in told.failure
    assert "the API is down" in told.failure
    assert shop.rows("SELECT id FROM ds.fine") == [(1,)]


def test_ask_06_a_resource_can_have_an_op_of_its_own(shop: Any) -> None:
    named = [dlt.resource([{"id": 1}], name=f"ds.{name}") for name in ("a", "b")]
    defs = DagsterDltFactory.build_definitions(
        named, dlt.destinations.duckdb(str(shop.database)), outputs_per_op=1
    )
    graph = defs.resolve_asset_graph()
    ops = {graph.get(key).assets_def.op.name for key in graph.materializable_asset_keys}
    assert ops == {"dlt_assets_ds_1", "dlt_assets_ds_2"}


def test_ask_07_an_empty_load_reports_zero_rows_and_says_what_it_did(shop: Any) -> None:
    rows = [{"id": 1}]

    @dlt.resource(name="listed", write_disposition="replace")
    def listed() -> Any:
        yield rows

    assets = shop.assets(source_of(listed), checks={"row_count": {"min": 1, "severity": "warn"}})
    shop.run(assets)
    rows.clear()
    told = shop.run(assets)
    event = told.events["dlt_one_listed"]
    assert event["rows_loaded"] == 0
    assert event["dagster/table_name"] == "ds.listed"
    assert {"started_at", "finished_at", "dagster/column_schema"} <= set(event)
    # dlt's replace of nothing leaves an empty table, which the check tells of.
    assert shop.rows("SELECT count(*) FROM ds.listed") == [(0,)]
    assert not told.check("dlt_one_listed", "row_count").passed


def test_ask_09_definitions_of_functions_write_nothing_and_a_file_spares_the_source(
    shop: Any, tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = tmp_path / "schemas"
    shop.run(
        shop.assets(
            sources.nested(),
            dlt_pipeline=dlt.pipeline(
                "exporting",
                destination=dlt.destinations.duckdb(str(shop.database)),
                dataset_name="ds",
                export_schema_path=str(exported),
            ),
        )
    )
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("DLT_DATA_DIR", str(elsewhere))

    def make_source() -> Any:
        raise AssertionError("nobody asks the source before the run")

    def make_pipeline() -> Any:
        return dlt.pipeline("lazy", destination="duckdb", dataset_name="ds")

    assets = shop.assets(
        make_source,
        dlt_pipeline=make_pipeline,
        nested_tables=True,
        schema_file_path=str(exported / "nested.schema.yaml"),
    )
    assert dg.AssetKey("dlt_nested_orders__items__tags") in assets.keys
    assert not elsewhere.exists()


def test_ask_10_a_secret_is_needed_in_the_run_only_and_is_nowhere_to_be_seen(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "odp_config"
    (home / "workflows").mkdir(parents=True)
    (home / "dagster_config.yaml").write_text("resources: []\n")
    load = {
        "source_module": "loadsmith.testing.sources.secretive",
        "source_params": {"api_token": "{{env.SHOP_TOKEN}}"},
        "resources": ["lengths"],
        "destination": "duckdb",
        "destination_params": {"database": str(shop.database)},
    }
    entry = {"asset_key": "api/lengths", "task_type": "dlt", "group_name": "g", "params": load}
    (home / "workflows" / "api.yaml").write_text(yaml.safe_dump({"assets": [entry]}))
    monkeypatch.setenv("SHOP_TOKEN", "only-a-name")
    defs = build_definitions(home)
    monkeypatch.setenv("SHOP_TOKEN", "s3cr3t-of-the-shop")
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=shop.instance)
    assert shop.rows("SELECT length FROM api_dataset.lengths") == [(len("s3cr3t-of-the-shop"),)]
    kept = "".join(str(entry) for entry in shop.instance.all_logs(result.run_id))
    assert "s3cr3t-of-the-shop" not in kept


def test_ask_10_a_function_that_asks_for_a_secret_is_defined_without_it(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = shop.assets(sources.secretive)
    assert {key.to_user_string() for key in assets.keys} == {"dlt_secretive_lengths"}
    assert "'SOURCES__SECRETIVE__API_TOKEN' not found" in shop.run(assets, fails=True).failure
    monkeypatch.setenv("SOURCES__SECRETIVE__API_TOKEN", "four")
    shop.run(assets)
    assert shop.rows("SELECT length FROM ds.lengths") == [(4,)]


def test_ask_11_an_op_of_ones_own_takes_our_run_configuration(shop: Any) -> None:
    @dg.op
    def load(context: dg.OpExecutionContext, dlt: DagsterDltResource, config: DltRunConfig) -> None:
        for event in dlt.run(context, dlt_source=sources.nested(), dlt_pipeline=shop.pipeline):
            context.log_event(event)

    @dg.job(resource_defs={"dlt": DagsterDltResource()})
    def job() -> None:
        load()

    job.execute_in_process(run_config={"ops": {"load": {"config": {"limit": 1}}}})
    assert shop.rows("SELECT count(*) FROM ds.orders") == [(1,)]


def test_ask_12_a_source_of_dlts_own_is_declared_in_a_file_alone(shop: Any, tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "crm.sqlite") as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO people VALUES (1, 'Ada')")
    home = tmp_path / "odp_config"
    (home / "workflows").mkdir(parents=True)
    (home / "dagster_config.yaml").write_text("resources: []\n")
    load = {
        "source_module": "sql_database",
        "source_params": {"credentials": f"sqlite:///{tmp_path / 'crm.sqlite'}"},
        "destination": "duckdb",
        "destination_params": {"database": str(shop.database)},
        "pipeline_params": {"dataset_name": "crm"},
    }
    entry = {"asset_key": "crm/people", "task_type": "dlt", "group_name": "g", "params": load}
    (home / "workflows" / "crm.yaml").write_text(yaml.safe_dump({"assets": [entry]}))
    build_definitions(home).resolve_implicit_global_asset_job_def().execute_in_process()
    assert shop.rows("SELECT name FROM crm.people") == [("Ada",)]


def test_ask_15_every_option_of_multi_asset_is_taken(shop: Any) -> None:
    hooked: list[str] = []

    @dg.success_hook
    def note(context: dg.HookContext) -> None:
        hooked.append(context.op.name)

    @dg.asset
    def token() -> int:
        return 7

    @dlt_assets(
        dlt_source=sources.empty(),
        dlt_pipeline=shop.pipeline,
        ins={"token": dg.AssetIn("token")},
        resource_defs={"dlt": dg.ResourceDefinition.hardcoded_resource(DagsterDltResource())},
        required_resource_keys={"dlt"},
        config_schema={"who": str},
        hooks={note},
        code_version="2",
    )
    def loaded(context: dg.AssetExecutionContext, token: int) -> Any:
        assert (token, context.op_execution_context.op_config["who"]) == (7, "Ada")
        yield from context.resources.dlt.run(context=context)

    config = {"ops": {"loaded": {"config": {"who": "Ada"}}}}
    told = shop.run([token, loaded], resources={}, run_config=config)
    assert told.events["dlt_empty_something"]["rows_loaded"] == 1
    assert hooked == ["loaded"]


def test_ask_16_a_profile_keeps_the_tables_and_cursors_of_a_branch_apart(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "odp_config"
    shop.write_project(
        home,
        profiles={
            "prod": {"pipeline_params": {"dataset_name": "real"}},
            "try": {"pipeline_params": {"dataset_name": "trial", "pipeline_name": "trial"}},
        },
    )
    for profile in ("prod", "try"):
        monkeypatch.setenv("LOADSMITH_PROFILE", profile)
        build_definitions(home).resolve_implicit_global_asset_job_def().execute_in_process()
    found = shop.rows(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'something'"
    )
    assert sorted(found) == [("real",), ("trial",)]


def test_ask_17_nested_tables_are_found_by_dlts_schema_and_warned_of_once(shop: Any) -> None:
    told = shop.run(shop.assets(sources.nested(), nested_tables=True))
    assert {key: event["rows_loaded"] for key, event in told.events.items()} == {
        "dlt_nested_orders": 3,
        "dlt_nested_orders__codes": 6,
        "dlt_nested_orders__items": 6,
        "dlt_nested_orders__items__tags": 9,
        "dlt_nested_orders_archive": 1,
        "dlt_nested_orders_archive__lines": 1,
    }
    assert told.log.count("no asset stands for table 'orders__codes'") == 1
    assert "update the schema file of the load, or give it one" in told.log


def test_ask_18_a_translator_gives_keys_that_tell_two_pipelines_apart(shop: Any) -> None:
    from loadsmith import DagsterDltTranslator

    class ByDataset(DagsterDltTranslator):
        def get_asset_spec(self, data: Any) -> dg.AssetSpec:
            key = dg.AssetKey([data.pipeline.dataset_name, data.resource.name])
            return super().get_asset_spec(data).replace_attributes(key=key)

    def assets(dataset: str) -> dg.AssetsDefinition:
        pipeline = dlt.pipeline(dataset, destination="duckdb", dataset_name=dataset)
        return shop.assets(
            sources.empty(),
            dlt_pipeline=pipeline,
            dagster_dlt_translator=ByDataset(),
            name=f"load_{dataset}",
        )

    defs = dg.Definitions(
        assets=[assets("one"), assets("two")], resources={"dlt": DagsterDltResource()}
    )
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    assert keys == {"one/nothing", "one/something", "two/nothing", "two/something"}


def test_ask_19_metadata_is_that_of_the_table_whatever_it_is_called(shop: Any) -> None:
    @dlt.resource(name="my__tbl")
    def doubled() -> Any:
        yield {"id": 1, "lines": [{"n": 1}]}

    told = shop.run(shop.assets(source_of(doubled, *sources.chosen_per_row().resources.values())))
    event = told.events["dlt_one_my__tbl"]
    assert event["rows_loaded"] == 1
    assert event["dagster/table_name"] == "ds.my__tbl"
    assert event["dagster/column_schema"].columns[0].name == "id"
    assert event["my__tbl__lines"].columns[0].name == "n"
    dispatched = told.events["dlt_one_events"]
    assert dispatched["rows_loaded"] == 3
    assert sorted(dispatched["tables"]) == ["ds.event_click", "ds.event_view"]


def test_ask_21_new_columns_types_and_variants_are_told(shop: Any) -> None:
    rows: list[dict[str, Any]] = [{"id": 1, "price": 2}]

    @dlt.resource(name="items")
    def items() -> Any:
        yield rows

    assets = shop.assets(source_of(items), checks=["schema_change"])
    assert shop.run(assets).check("dlt_one_items", "schema_change").passed
    rows[0] = {"id": 2, "price": "free", "colour": "red", "parts": [{"n": 1}]}
    told = shop.run(assets)
    changes = told.events["dlt_one_items"]["schema_changes"]
    assert "| items | new column | colour |  | text |" in changes
    assert "| items | new variant | price__v_text | bigint | text |" in changes
    assert "| items__parts | new table |" in changes
    assert not told.check("dlt_one_items", "schema_change").passed


@pytest.mark.parametrize(
    ("contract", "row", "table", "column", "value"),
    [
        ({"columns": "freeze"}, {"id": 2, "name": "Ada"}, "strict", "name", "Ada"),
        ({"data_type": "freeze"}, {"id": "two"}, "strict", "id", "two"),
        ({"tables": "freeze"}, {"id": 2, "lines": [{"n": 1}]}, "strict__lines", None, None),
    ],
)
def test_ask_22_a_broken_contract_is_a_failed_check_that_says_what_broke_it(
    shop: Any, contract: Any, row: Any, table: str, column: str | None, value: str | None
) -> None:
    rows: list[dict[str, Any]] = [{"id": 1}]

    @dlt.resource(name="strict")
    def strict() -> Any:
        yield rows

    shop.run(shop.assets(source_of(strict)))
    rows[0] = row
    strict.apply_hints(schema_contract=contract)
    told = shop.run(shop.assets(source_of(strict), checks=["schema_contract"]), fails=True)
    check = told.check("dlt_one_strict", "schema_contract")
    assert not check.passed
    found = {name: str(entry.value) for name, entry in check.metadata.items()}
    assert found["table"] == table
    assert found.get("column") == column
    assert (value or "") in found.get("value", "")
    assert "Let the contract evolve, or fix the source" in told.failure


def test_ask_23_the_cursor_says_where_it_is_and_which_package_took_it_there(shop: Any) -> None:
    @dlt.resource(name="events")
    def events(at: Any = incremental("id", initial_value=1)) -> Any:
        yield [{"id": 1}, {"id": 2}]

    event = shop.run(shop.assets(source_of(events))).events["dlt_one_events"]
    assert event["cursor"] == {
        "path": "id",
        "start": "1",
        "end": None,
        "last_value": "2",
        "load_id": event["load_ids"][-1],
    }


def test_ask_24_a_range_in_one_run_is_marked_as_the_total(shop: Any) -> None:
    days = [f"2024-01-0{day}" for day in (1, 2, 3)]

    @dlt.resource(name="events")
    def events(at: Any = incremental("at", initial_value="2023-01-01")) -> Any:
        yield [{"at": day} for day in days]

    daily = dg.DailyPartitionsDefinition("2024-01-01")
    tags = {
        "dagster/asset_partition_range_start": days[0],
        "dagster/asset_partition_range_end": days[1],
    }
    told = shop.run(shop.assets(source_of(events), partitions_def=daily), tags=tags)
    event = told.events["dlt_one_events"]
    assert event["rows_loaded_in_all_partitions"] == 2
    assert event["partitions"] == "2024-01-01...2024-01-02 (2 partitions)"
    assert "dagster/partition_row_count" not in event


def test_ask_25_what_feeds_a_transformer_is_asked_once_and_is_its_upstream(shop: Any) -> None:
    asked: list[int] = []

    @dlt.resource(name="users")
    def users() -> Any:
        asked.append(1)
        yield [{"id": 1}]

    @dlt.transformer(name="details", data_from=users)
    def details(page: Any) -> Any:
        yield [{"user_id": user["id"]} for user in page]

    assets = shop.assets(source_of(users, details))
    spec = assets.get_asset_spec(dg.AssetKey("dlt_one_details"))
    assert dg.AssetKey("dlt_one_users") in {dep.asset_key for dep in spec.deps}
    shop.run(assets)
    assert asked == [1]


def test_ask_26_descriptions_keys_and_nullability_come_from_the_hints(shop: Any) -> None:
    @dlt.resource(
        name="people",
        primary_key="id",
        merge_key="day",
        write_disposition="merge",
        columns={"name": {"data_type": "text", "description": "As on the passport."}},
    )
    def people() -> Any:
        yield {"id": 1, "day": "2024-01-01", "name": "Ada"}

    assets = shop.assets(source_of(people))
    before = assets.metadata_by_key[dg.AssetKey("dlt_one_people")]["dagster/column_schema"]
    after = shop.run(assets).events["dlt_one_people"]["dagster/column_schema"]
    for schema in (before, after):
        columns = {column.name: column for column in schema.columns}
        assert columns["name"].description == "As on the passport."
        assert columns["id"].constraints.other == ["primary_key"]
        assert columns["day"].constraints.other == ["merge_key"]
        assert not columns["id"].constraints.nullable
        assert columns["name"].constraints.nullable


def test_a_static_and_a_daily_dimension_are_a_window_and_a_cursor_each(shop: Any) -> None:
    @dlt.source(name="regions")
    def regions(region: str) -> Any:
        @dlt.resource(name="events")
        def events(at: Any = incremental("day", initial_value="2023-01-01")) -> Any:
            yield [{"region": region, "day": f"2024-01-0{day}"} for day in (1, 2, 3)]

        return events

    @dlt_assets(
        dlt_source=regions("none"),
        dlt_pipeline=shop.pipeline,
        partitions_def=dg.MultiPartitionsDefinition(
            {
                "day": dg.DailyPartitionsDefinition("2024-01-01"),
                "region": dg.StaticPartitionsDefinition(["eu", "us"]),
            }
        ),
    )
    def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource) -> Any:
        region = context.partition_key.keys_by_dimension["region"]
        yield from dlt.run(context=context, dlt_source=regions(region))

    for day, region in (("2024-01-02", "eu"), ("2024-01-02", "us"), ("2024-01-03", "eu")):
        key = dg.MultiPartitionKey({"day": day, "region": region})
        shop.run(loaded, partition_key=key)
    assert shop.rows("SELECT region, day::DATE::TEXT FROM ds.events ORDER BY 1, 2") == [
        ("eu", "2024-01-02"),
        ("eu", "2024-01-03"),
        ("us", "2024-01-02"),
    ]


#: Where other tests hold an ask: names of tests by file.
HELD_ELSEWHERE: dict[int, dict[str, list[str]]] = {
    6: {"assets/test_build.py": ["a_large_load_becomes_several_ops_of_whole_resources"]},
    8: {
        "assets/test_decorator_and_runner.py": [
            "a_key_prefix_added_afterwards_still_loads_the_right_resource",
            "an_asset_of_no_resource_is_an_error",
        ]
    },
    9: {
        "component/test_component_discovery.py": [
            "tables_of_a_database_are_assets_after_one_refresh"
        ],
        "assets/test_decorator_and_runner.py": [
            "functions_are_taken_for_the_source_and_the_pipeline"
        ],
    },
    10: {
        "component/test_declared_loads.py": [
            "a_rest_api_is_loaded_with_a_secret_that_only_the_run_knows",
            "the_secret_is_nowhere_in_what_dagster_keeps",
        ]
    },
    11: {
        "doors/test_doors.py": [
            "the_choices_of_the_launchpad_are_followed",
            "run_tags_say_the_same_as_the_launchpad",
        ]
    },
    12: {
        "component/test_declared_loads.py": [
            "a_rest_api_is_defined_without_asking_it_and_without_its_secret"
        ]
    },
    13: {
        "doors/test_doors.py": ["settings_are_those_that_were_asked_for"],
        "component/test_component_settings.py": ["settings_of_the_assets_and_of_the_op"],
    },
    14: {
        "component/test_component_references.py": [
            "two_loads_of_one_source_and_dataset_are_two_ops",
            "a_source_may_be_live_or_not_called_or_a_function_that_makes_one",
        ],
        "component/test_component_settings.py": ["partitions_of_every_kind"],
        "component/test_component_scaffolder.py": ["what_is_written_runs_as_it_is"],
    },
    17: {"assets/test_build.py": ["every_table_is_an_asset_with_its_rows"]},
    18: {"component/test_component_settings.py": ["a_translation_is_a_template_of_the_resource"]},
    20: {
        "assets/test_decorator_and_runner.py": [
            "the_file_system_counts_its_rows_and_names_its_folder",
            "row_counts_come_from_the_destination",
        ]
    },
    24: {"component/test_component_settings.py": ["backfill_policies"]},
    25: {"doors/test_doors.py": ["every_table_has_the_documented_key_and_upstream"]},
}


@pytest.mark.parametrize("ask", sorted(HELD_ELSEWHERE), ids=lambda ask: f"ask_{ask:02}")
def test_an_ask_is_held_by_tests_that_are_there(ask: int) -> None:
    for file, names in HELD_ELSEWHERE[ask].items():
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert [name for name in names if f"def test_{name}(" not in text] == []
