"""The decorator and the resource: real dlt into a real DuckDB, through Dagster's own executor."""

import re
import subprocess
import sys
import types

import dagster as dg
import dlt
import pytest

from loadsmith.assets.decorator import build_dlt_asset_specs, dlt_assets
from loadsmith.assets.define import DagsterDltTranslator
from loadsmith.assets.run import DagsterDltResource
from loadsmith.assets.run_config import DltRunConfig


@dlt.source(name="shop")
def shop(count: int = 3):
    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders():
        """Orders of the shop."""
        for number in range(count):
            yield {"id": number, "total": number * 2, "items": [{"sku": f"s{number}"}]}

    @dlt.resource
    def users():
        yield [{"id": number} for number in range(2)]

    @dlt.transformer(data_from=users)
    def details(page):
        for user in page:
            yield {"user_id": user["id"]}

    @dlt.resource
    def empty():
        yield from ()

    return orders, users, details, empty


@dlt.source(name="events")
def dispatched():
    @dlt.resource(table_name=lambda row: row["kind"])
    def stream():
        yield [{"kind": "login", "n": 1}, {"kind": "buy", "n": 2}, {"kind": "buy", "n": 3}]

    return stream


@dlt.source(name="numbers")
def generator_of_a_function():
    return dlt.resource(lambda: iter([{"n": 1}]), name="plain")


def make_assets(pipeline, source=None, **options):
    @dlt_assets(dlt_source=source or shop(), dlt_pipeline=pipeline, **options)
    def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context)

    return loaded


def run(assets, instance=None, **options):
    assets = assets if isinstance(assets, list) else [assets]
    return dg.materialize(
        assets, resources={"dlt": DagsterDltResource()}, instance=instance, **options
    )


def test_keys_dependencies_kinds_and_descriptions_are_those_of_dagster_dlt(pipeline):
    assets = make_assets(pipeline)
    orders = assets.get_asset_spec(dg.AssetKey("dlt_shop_orders"))
    assert {key.to_user_string() for key in assets.keys} == {
        "dlt_shop_orders",
        "dlt_shop_users",
        "dlt_shop_details",
        "dlt_shop_empty",
    }
    assert [dep.asset_key.to_user_string() for dep in orders.deps] == ["shop_orders"]
    assert orders.kinds == {"dlt", "duckdb"}
    assert orders.description == "Orders of the shop."


def test_metadata_of_specs_is_plain_data(pipeline):
    for metadata in make_assets(pipeline).metadata_by_key.values():
        assert all(
            isinstance(value, str | int | bool | dg.TableSchema) for value in metadata.values()
        )


def test_a_good_run_ends_with_one_line_that_sums_it_up(pipeline, instance):
    result = run(make_assets(pipeline), instance)
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    (line,) = [line for line in lines if "rows loaded into" in line]
    assert line.startswith("load 'loaded': 10 rows loaded into duckdb, dataset ds (orders 3, ")
    assert re.search(r"in [\d.]+ s \(sync [\d.]+, extract [\d.]+, normalize [\d.]+, load", line)


def test_seconds_and_bytes_are_numbers(pipeline, events_of):
    orders = events_of(run(make_assets(pipeline)))["dlt_shop_orders"]
    stages = [orders[f"seconds_{name}"] for name in ("sync", "extract", "normalize", "load")]
    assert all(isinstance(seconds, float) for seconds in stages)
    assert orders["seconds"] >= max(stages) > 0
    jobs = [job.data for job in orders["jobs"].records]
    sizes = [job["file_size"] for job in jobs if job["file_format"] == "parquet"]
    assert orders["bytes_loaded"] == sum(sizes) > 0


def test_a_run_reports_rows_names_and_times_of_each_table(pipeline, events_of, rows_in):
    events = events_of(run(make_assets(pipeline)))
    orders = events["dlt_shop_orders"]
    assert orders["rows_loaded"] == 3
    assert orders["dagster/table_name"] == "ds.orders"
    assert orders["dataset_name"] == "ds"
    assert orders["destination_name"] == "duckdb"
    assert orders["first_run"] is True
    assert {record.data["table_name"] for record in orders["jobs"].records} == {"orders"}
    assert orders["started_at"] < orders["finished_at"]
    assert orders["orders__items"].columns[0].name == "sku"
    columns = {column.name: column for column in orders["dagster/column_schema"].columns}
    assert columns["id"].type == "bigint"
    assert columns["id"].constraints.other == ["primary_key"]
    assert columns["id"].constraints.nullable is False
    assert rows_in("SELECT COUNT(*) FROM ds.orders") == [(3,)]


def test_no_rows_are_a_number(pipeline, events_of):
    assert events_of(run(make_assets(pipeline)))["dlt_shop_empty"]["rows_loaded"] == 0


def test_schema_changes_are_a_markdown_table(pipeline, events_of):
    assets = make_assets(pipeline)
    first, second = events_of(run(assets)), events_of(run(assets))
    assert "| orders | new column | total |" in first["dlt_shop_orders"]["schema_changes"]
    assert "schema_changes" not in second["dlt_shop_orders"]


def test_the_same_assets_run_twice_in_one_process(pipeline, events_of):
    assets = make_assets(pipeline)
    first, second = events_of(run(assets)), events_of(run(assets))
    schema = "dagster/column_schema"
    assert first["dlt_shop_orders"][schema] == second["dlt_shop_orders"][schema]


def test_a_selected_asset_loads_its_resource_alone(pipeline, events_of):
    events = events_of(run(make_assets(pipeline), selection=["dlt_shop_users"]))
    assert list(events) == ["dlt_shop_users"]


def test_a_transformer_is_loaded_alone_too(pipeline, events_of, rows_in):
    events = events_of(run(make_assets(pipeline), selection=["dlt_shop_details"]))
    assert events["dlt_shop_details"]["rows_loaded"] == 2
    assert "dlt_shop_users" not in events
    tables = rows_in("SELECT table_name FROM information_schema.tables")
    assert ("users",) not in tables


def test_a_transformer_depends_on_the_asset_that_feeds_it(pipeline):
    spec = make_assets(pipeline).get_asset_spec(dg.AssetKey("dlt_shop_details"))
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        "shop_users",
        "dlt_shop_users",
    }


def test_a_key_prefix_added_afterwards_still_loads_the_right_resource(pipeline, events_of):
    module = types.ModuleType("assets_of_a_project")
    module.loaded = make_assets(pipeline)
    moved = list(dg.load_assets_from_modules([module], key_prefix="raw"))
    events = events_of(run(moved, selection=[dg.AssetKey(["raw", "dlt_shop_users"])]))
    assert list(events) == ["raw/dlt_shop_users"]
    assert events["raw/dlt_shop_users"]["rows_loaded"] == 2


def test_row_counts_come_from_the_destination(pipeline, events_of):
    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline)
    def counted(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context).fetch_row_count()

    run(counted)
    events = events_of(run(counted))
    assert events["dlt_shop_orders"]["dagster/row_count"] == 3
    assert events["dlt_shop_users"]["dagster/row_count"] == 4
    assert events["dlt_shop_empty"]["rows_loaded"] == 0


def test_functions_are_taken_for_the_source_and_the_pipeline(database, events_of, data_dir):
    def pipeline():
        return dlt.pipeline(
            "made", destination=dlt.destinations.duckdb(str(database)), dataset_name="ds"
        )

    assets = make_assets(pipeline, source=shop)
    assert not data_dir.exists()
    assert assets.get_asset_spec(dg.AssetKey("dlt_shop_users")).kinds == {"dlt", "duckdb"}
    assert events_of(run(assets))["dlt_shop_orders"]["rows_loaded"] == 3


def test_a_table_chosen_per_row_belongs_to_its_resource(pipeline, events_of):
    events = events_of(run(make_assets(pipeline, source=dispatched())))
    assert events["dlt_events_stream"]["rows_loaded"] == 3
    assert sorted(events["dlt_events_stream"]["tables"]) == ["ds.buy", "ds.login"]


def test_options_of_multi_asset_pass_through(pipeline):
    assets = make_assets(
        pipeline,
        name="named",
        group_name="g",
        op_tags={"a": "b"},
        pool="one",
        retry_policy=dg.RetryPolicy(max_retries=2),
        code_version="7",
        description="All of it.",
        deps=["upstream"],
        check_specs=[dg.AssetCheckSpec("mine", asset="dlt_shop_users")],
    )
    assert assets.op.name == "named"
    assert assets.op.tags["a"] == "b"
    assert assets.op.pool == "one"
    assert assets.op.retry_policy.max_retries == 2
    assert set(assets.group_names_by_key.values()) == {"g"}
    assert dg.AssetKey("upstream") in set(assets.dependency_keys)
    assert {key.name for key in assets.check_keys} == {"mine"}


def test_arguments_of_run_go_to_dlt_and_the_launchpad_wins(pipeline, events_of, rows_in):
    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline)
    def appended(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context, write_disposition="append")

    for _ in range(2):
        run(appended, selection=["dlt_shop_users"])
    assert rows_in("SELECT COUNT(*) FROM ds.users") == [(4,)]
    config = {"ops": {"appended": {"config": {"write_disposition": "replace", "limit": 1}}}}
    run(appended, selection=["dlt_shop_users"], run_config=config)
    assert rows_in("SELECT COUNT(*) FROM ds.users") == [(2,)]


def test_run_tags_choose_too_and_a_misspelled_one_is_an_error(pipeline, rows_in):
    assets = make_assets(pipeline)
    for _ in range(2):
        run(assets, selection=["dlt_shop_users"], tags={"loadsmith/write_disposition": "replace"})
    assert rows_in("SELECT COUNT(*) FROM ds.users") == [(2,)]
    with pytest.raises(dg.Failure, match="Did you mean 'limit'"):
        run(assets, tags={"loadsmith/limt": "1"})


def test_refresh_drops_what_was_loaded(pipeline, rows_in):
    assets = make_assets(pipeline)
    run(assets, selection=["dlt_shop_users"])
    config = {"ops": {"loaded": {"config": {"refresh": "drop_resources"}}}}
    run(assets, selection=["dlt_shop_users"], run_config=config)
    assert rows_in("SELECT COUNT(*) FROM ds.users") == [(2,)]


def test_a_function_with_a_configuration_of_its_own_keeps_it(pipeline, events_of):
    class Mine(dg.Config):
        limit: str = "none of ours"

    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline)
    def configured(context: dg.AssetExecutionContext, dlt: DagsterDltResource, config: Mine):
        yield from dlt.run(context=context)

    assert events_of(run(configured))["dlt_shop_orders"]["rows_loaded"] == 3


def test_a_subclass_of_our_configuration_is_ours(pipeline, events_of):
    class More(DltRunConfig):
        name: str = "x"

    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline)
    def configured(context: dg.AssetExecutionContext, dlt: DagsterDltResource, config: More):
        yield from dlt.run(context=context)

    limited = run(configured, run_config={"ops": {"configured": {"config": {"limit": 1}}}})
    assert events_of(limited)["dlt_shop_orders"]["rows_loaded"] == 1


def test_a_source_per_run_wins_over_that_of_the_decorator(pipeline, events_of, instance):
    @dlt_assets(
        dlt_source=shop(),
        dlt_pipeline=pipeline,
        partitions_def=dg.StaticPartitionsDefinition(["1", "5"]),
    )
    def per_partition(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context, dlt_source=shop(count=int(context.partition_key)))

    events = events_of(run(per_partition, instance=instance, partition_key="5"))
    assert events["dlt_shop_orders"]["rows_loaded"] == 5
    assert events["dlt_shop_orders"]["dagster/partition_row_count"] == 5


def test_an_op_loads_and_reports_materializations(pipeline, events_of):
    @dg.op
    def load(context: dg.OpExecutionContext, dlt: DagsterDltResource):
        for event in dlt.run(context, dlt_source=shop(), dlt_pipeline=pipeline):
            context.log_event(event)

    @dg.job(resource_defs={"dlt": DagsterDltResource()})
    def job():
        load()

    events = events_of(job.execute_in_process())
    assert events["dlt_shop_orders"]["rows_loaded"] == 3


def test_an_op_without_a_source_is_told_what_is_missing():
    @dg.op
    def load(context: dg.OpExecutionContext, dlt: DagsterDltResource):
        for event in dlt.run(context):
            context.log_event(event)

    @dg.job(resource_defs={"dlt": DagsterDltResource()})
    def job():
        load()

    with pytest.raises(Exception, match="give dlt_source="):
        job.execute_in_process()


def test_specs_alone_make_a_multi_asset_of_ones_own(pipeline, events_of):
    source = shop()

    @dg.multi_asset(specs=build_dlt_asset_specs(source, pipeline), can_subset=True)
    def own(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context, dlt_source=source, dlt_pipeline=pipeline)

    assert events_of(run(own, selection=["dlt_shop_users"]))["dlt_shop_users"]["rows_loaded"] == 2


def test_an_asset_of_no_resource_is_an_error(pipeline):
    source = shop()

    @dg.multi_asset(specs=[*build_dlt_asset_specs(source, pipeline), dg.AssetSpec("stray")])
    def own(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context, dlt_source=source, dlt_pipeline=pipeline)

    with pytest.raises(dg.Failure, match="'stray': no resource"):
        run(own)


def test_nested_tables_that_nobody_knew_are_reported_and_not_lost(pipeline, events_of):
    events = events_of(run(make_assets(pipeline, nested_tables=True)))
    nested = events["dlt_shop_orders__items"]
    assert nested["rows_loaded"] == 3
    assert nested["loadsmith/undeclared"] is True


def test_an_iterator_may_be_handed_back_instead_of_yielded_from(pipeline, events_of):
    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline)
    def returned(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        for event in dlt.run(context=context):
            yield event._replace(metadata={**event.metadata, "mine": 1})

    assert events_of(run(returned))["dlt_shop_orders"]["mine"] == 1


@dlt.source(name="broken")
def failing():
    @dlt.resource
    def good():
        yield {"id": 1}

    @dlt.resource
    def bad():
        yield {"id": 1}
        raise ConnectionError("the API is down")

    return good, bad


def test_a_failure_names_the_stage_and_the_resource(pipeline):
    with pytest.raises(dg.Failure, match="bad") as caught:
        run(make_assets(pipeline, source=failing()))
    assert caught.value.metadata["stage"].value == "extract"
    assert caught.value.allow_retries


@dlt.source(name="contracted")
def contracted(extra: bool):
    @dlt.resource(schema_contract={"columns": "freeze"})
    def strict():
        yield {"id": 1, **({"surprise": "boo"} if extra else {})}

    return strict


def test_a_broken_contract_is_a_failed_check(pipeline, instance, checks_of):
    extra = []

    @dlt_assets(dlt_source=contracted(False), dlt_pipeline=pipeline, checks=["schema_contract"])
    def guarded(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context, dlt_source=contracted(bool(extra)))

    check = ("dlt_contracted_strict", "schema_contract")
    assert checks_of(run(guarded))[check].passed
    extra.append(1)
    failed = run(guarded, raise_on_error=False)
    assert not failed.success
    result = checks_of(failed)[check]
    assert not result.passed
    assert result.metadata["table"].value == "strict"
    assert result.metadata["column"].value == "surprise"


def test_keys_rows_and_changes_are_checked_where_asked(pipeline, checks_of):
    assets = make_assets(pipeline, checks={"primary_key": {}, "row_count": {"min": 3}})
    checks = checks_of(run(assets))
    assert checks["dlt_shop_orders", "primary_key"].passed
    assert checks["dlt_shop_orders", "row_count"].passed
    assert not checks["dlt_shop_users", "row_count"].passed


def test_the_translator_is_asked_with_the_live_resource(pipeline):
    seen = []

    class Mine(DagsterDltTranslator):
        def get_asset_key(self, resource):
            seen.append(resource)
            return dg.AssetKey(["mine", resource.name])

    assets = make_assets(pipeline, dagster_dlt_translator=Mine())
    assert dg.AssetKey(["mine", "orders"]) in assets.keys
    assert all(type(resource).__name__ == "DltResource" for resource in seen)


def test_a_source_per_run_with_fewer_resources_reports_those_alone(pipeline, events_of):
    @dlt_assets(dlt_source=shop(), dlt_pipeline=pipeline)
    def fewer(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context, dlt_source=shop().with_resources("users"))

    assert set(events_of(run(fewer))) == {"dlt_shop_users"}
    with pytest.raises(dg.Failure, match="the source of this run has no resource 'orders'"):
        run(fewer, selection=["dlt_shop_orders"])


def test_several_partitions_without_a_window_are_loaded_one_by_one(pipeline, instance):
    assets = make_assets(
        pipeline,
        partitions_def=dg.StaticPartitionsDefinition(["a", "b"]),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    tags = {
        "dagster/asset_partition_range_start": "a",
        "dagster/asset_partition_range_end": "b",
    }
    with pytest.raises(dg.Failure, match=r"a\.\.\.b \(2 partitions\) are no range of time"):
        run(assets, instance=instance, tags=tags)


def test_defining_assets_of_plain_data_imports_no_dlt():
    code = "import sys, loadsmith.assets.build; sys.exit('dlt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_file_system_counts_its_rows_and_names_its_folder(tmp_path, events_of):
    pipeline = dlt.pipeline(
        "files",
        destination=dlt.destinations.filesystem(f"file://{tmp_path}/out"),
        dataset_name="ds",
    )

    @dlt_assets(dlt_source=shop().with_resources("users"), dlt_pipeline=pipeline)
    def counted(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
        yield from dlt.run(context=context).fetch_row_count()

    run(counted)
    users = events_of(run(counted))["dlt_shop_users"]
    assert (users["rows_loaded"], users["dagster/row_count"]) == (2, 4)
    assert users["destination_file_uri"].endswith("/out/ds/users")
    assert users["dagster/table_name"] == "ds.users"


def test_nested_tables_are_assets_once_a_run_has_seen_them(pipeline, instance, events_of):
    options = {"nested_tables": True, "name": "shop_load"}
    before = make_assets(pipeline, **options)
    assert dg.AssetKey("dlt_shop_orders__items") not in before.keys
    resources = {"dlt": DagsterDltResource()}
    dg.materialize([before], instance=instance, resources=resources)
    after = make_assets(pipeline, **options)
    assert dg.AssetKey("dlt_shop_orders__items") in after.keys
    assert before.keys < after.keys
    result = dg.materialize([after], instance=instance, resources=resources)
    assert events_of(result)["dlt_shop_orders__items"]["rows_loaded"] == 3
    assert "dlt_shop_orders__items" not in {
        key.to_user_string() for key in make_assets(pipeline, name="shop_load").keys
    }


def test_a_pipeline_of_a_function_is_found_again_too(database, instance):
    def make_pipeline():
        return dlt.pipeline(
            "shop", destination=dlt.destinations.duckdb(str(database)), dataset_name="ds"
        )

    resources = {"dlt": DagsterDltResource()}
    dg.materialize([make_assets(make_pipeline)], instance=instance, resources=resources)
    specs = {spec.key.to_user_string(): spec for spec in make_assets(make_pipeline).specs}
    columns = specs["dlt_shop_orders"].metadata["dagster/column_schema"].columns
    assert {"id", "total"} <= {column.name for column in columns}
