"""One promise for all front doors: same specs, same events, same subsets, same settings."""

from typing import Any

import dagster as dg
import pytest

from loadsmith.errors import causes_of

TABLES = ("orders", "users", "details", "nothing")
DAILY = {"type": "daily", "start": "2024-01-01", "end": "2024-01-04"}
SETTINGS = {
    "group_name": "shop_group",
    "owners": ["team:data", "ada@example.com"],
    "tags": {"tier": "gold"},
    "kinds": ["api"],
    "automation_condition": "on_schedule",
    "automation_condition_config": {"cron_schedule": "@daily", "cron_timezone": "UTC"},
    "freshness_lower_bound_delta_seconds": 3600,
    "checks": {"row_count": {"min": 2}, "schema_change": {}},
    "pool": "shop_pool",
    "op_tags": {"size": "small"},
    "retry_policy": {"max_retries": 2},
}


def test_every_table_has_the_documented_key_and_upstream(build: Any) -> None:
    built = build()
    assert {
        table: {dep.asset_key.to_user_string() for dep in spec.deps}
        for table, spec in built.specs().items()
    } == {table: built.door.upstream(table) for table in TABLES}


def test_all_doors_give_the_same_specs(make_built: Any, doors: Any) -> None:
    found = {}
    for door in doors:
        built = make_built(door, settings={"group_name": "shop"})
        found[door.name] = {
            table: (
                spec.description,
                spec.group_name,
                spec.kinds,
                dict(spec.tags),
                spec.owners,
                built.told(spec.metadata),
            )
            for table, spec in built.specs().items()
        }
    assert found["decorator"]["orders"][0] == "Orders of the shop."
    assert found["decorator"]["orders"][2] == {"dlt", "duckdb"}
    settings = slice(1, 5)
    assert [spec[settings] for spec in found["files"].values()] == [
        spec[settings] for spec in found["decorator"].values()
    ]
    for door, specs in found.items():
        # Files are defined without dlt, and know neither docstrings nor tables that nobody saw.
        for table, spec in specs.items() if door != "files" else ():
            assert (door, table, *spec) == (door, table, *found["decorator"][table])


def test_after_a_run_all_doors_know_the_same(make_built: Any, doors: Any) -> None:
    found = {}
    for door in doors:
        built = make_built(door, settings={"group_name": "shop"})
        before = built.specs()
        built.run()
        after = built.again().specs()
        assert {table: spec.key for table, spec in before.items()} == {
            table: spec.key for table, spec in after.items()
        }
        found[door.name] = {
            table: (spec.description, _known_of_table(built.told(spec.metadata)))
            for table, spec in after.items()
        }
        parent = built.door.key("users")
        assert parent in {dep.asset_key.to_user_string() for dep in after["details"].deps}
    description, metadata = found["decorator"]["orders"]
    assert description == "Orders of the shop."
    columns = {column.name: column for column in metadata["dagster/column_schema"].columns}
    assert columns["total"].type == "double"
    assert columns["id"].constraints.other == ["primary_key"]
    assert not columns["id"].constraints.nullable
    for door, specs in found.items():
        for table, spec in specs.items():
            expected = found["decorator"][table]
            if (door, table) == ("files", "nothing"):
                # A table that nobody has declared and that never got a row has no columns to show.
                expected = (
                    expected[0],
                    {"dagster/table_name": None, "dagster/column_schema": None},
                )
            assert (door, table, *spec) == (door, table, *expected)


def _known_of_table(metadata: Any) -> dict[str, Any]:
    return {name: metadata.get(name) for name in ("dagster/table_name", "dagster/column_schema")}


def test_all_doors_tell_the_same_of_a_run(make_built: Any, doors: Any) -> None:
    found = {}
    for door in doors:
        built = make_built(door)
        found[door.name] = [built.events(built.run()), built.events(built.run())]
    first, second = found["decorator"]
    assert {table: event["rows_loaded"] for table, event in first.items()} == {
        "orders": 3,
        "users": 2,
        "details": 2,
        "nothing": 0,
    }
    assert second["orders"]["rows_loaded"] == 0
    for door, runs in found.items():
        for number, events in enumerate(runs):
            for table, event in events.items():
                expected = found["decorator"][number][table]
                assert (door, number, table, event) == (door, number, table, expected)
            assert list(events) == list(found["decorator"][number])


def test_settings_are_those_that_were_asked_for(build: Any) -> None:
    built = build(settings=SETTINGS)
    for spec in built.specs().values():
        assert spec.group_name == "shop_group"
        assert sorted(spec.owners) == ["ada@example.com", "team:data"]
        assert spec.tags["tier"] == "gold"
        assert spec.kinds == {"dlt", "duckdb", "api"}
        assert spec.automation_condition.get_label() == "on_schedule(@daily)"
    assert built.op.pool == "shop_pool"
    assert built.op.tags["size"] == "small"
    assert built.op.retry_policy.max_retries == 2
    asked = {
        (built.table_of(check.asset_key), check.name)
        for check in built.defs.resolve_asset_graph().asset_check_keys
    }
    assert asked == {
        (table, check)
        for table in TABLES
        for check in ("row_count", "schema_change", "freshness_check")
    }
    # Nobody evaluates a freshness check that has no sensor.
    evaluated = {sensor.name for sensor in built.defs.sensors or ()}
    assert any(name.endswith("_freshness") for name in evaluated)


def test_a_resource_may_have_settings_of_its_own(build: Any) -> None:
    own = {
        "group_name": "orders_group",
        "owners": ["team:orders"],
        "tags": {"size": "large"},
        "kinds": ["csv"],
        "description": "Said by hand.",
        "automation_condition": "eager",
        "deps": ["elsewhere/orders"],
    }
    built = build(
        settings={"group_name": "shop_group", "tags": {"tier": "gold"}, "kinds": ["api"]},
        resource_settings={"orders": own},
    )
    specs = built.specs()
    orders, users = specs["orders"], specs["users"]
    assert (orders.group_name, users.group_name) == ("orders_group", "shop_group")
    assert (list(orders.owners), list(users.owners)) == (["team:orders"], [])
    assert orders.tags["size"] == "large"
    assert "size" not in users.tags
    assert "csv" in orders.kinds
    assert orders.description == "Said by hand."
    assert users.description != "Said by hand."
    assert orders.automation_condition.get_label() == "eager"
    assert users.automation_condition is None
    assert "elsewhere/orders" in {dep.asset_key.to_user_string() for dep in orders.deps}


def test_checks_are_answered_in_the_run(build: Any) -> None:
    built = build(settings={"checks": SETTINGS["checks"]})
    assert built.checks(built.run()) == {
        **{(table, "schema_change"): True for table in TABLES},
        **{(table, "row_count"): table != "nothing" for table in TABLES},
    }


@pytest.mark.parametrize("table", ["users", "details"])
def test_a_subset_loads_and_reports_that_alone(build: Any, table: str) -> None:
    built = build()
    assert list(built.events(built.run(table))) == [table]
    tables = built.door.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'ds'"
    )
    assert {name for (name,) in tables if not name.startswith("_dlt")} == {table}


def test_a_daily_partition_is_a_window(build: Any) -> None:
    built = build(partitions=DAILY)
    assert isinstance(built.specs()["orders"].partitions_def, dg.TimeWindowPartitionsDefinition)
    events = built.events(built.run("orders", partition_key="2024-01-02"))
    assert built.door.rows("SELECT id FROM ds.orders") == [(1,)]
    assert events["orders"]["dagster/partition_row_count"] == 1
    assert events["orders"]["cursor"] == {
        "path": "at",
        "start": "2024-01-02",
        "end": "2024-01-03",
        "last_value": "2024-01-02",
        "load_id": None,
    }


def test_arguments_of_dlts_run_are_taken(build: Any) -> None:
    built = build(run_params={"write_disposition": "append"})
    built.run("users")
    built.run("users")
    assert built.door.rows("SELECT count(*) FROM ds.users") == [(4,)]


def test_the_launchpad_offers_the_same_choices(build: Any) -> None:
    built = build()
    fields = built.op.config_schema.as_field().config_type.fields
    assert set(fields) == {
        "refresh",
        "write_disposition",
        "on_empty",
        "normalizer",
        "reload",
        "limit",
        "window",
        "loader_file_format",
    }


def test_the_choices_of_the_launchpad_are_followed(build: Any) -> None:
    built = build()
    built.run("orders", config={"limit": 1})
    assert built.door.rows("SELECT id FROM ds.orders") == [(0,)]
    built.run("orders", config={"refresh": "drop_resources"})
    assert built.door.rows("SELECT count(*) FROM ds.orders") == [(3,)]
    window = {"start": "2024-01-02", "end": "2024-01-03"}
    built.run("orders", config={"write_disposition": "replace", "window": window})
    assert built.door.rows("SELECT id FROM ds.orders") == [(1,)]
    jobs = built.run("orders", config={"loader_file_format": "jsonl", "refresh": "drop_resources"})
    (event,) = jobs.get_asset_materialization_events()
    files = [record.data for record in event.materialization.metadata["jobs"].records]
    assert {job["file_format"] for job in files if job["table_name"] == "orders"} >= {"jsonl"}


def test_run_tags_say_the_same_as_the_launchpad(build: Any) -> None:
    built = build()
    built.run("orders", tags={"loadsmith/limit": "1"})
    assert built.door.rows("SELECT id FROM ds.orders") == [(0,)]


def test_a_cursor_without_a_zone_waits_for_its_zone_in_other_partitions(
    make_built: Any, doors: Any
) -> None:
    partitions = {**DAILY, "timezone": "America/New_York"}
    for door in doors:
        refused = make_built(door, partitions=partitions)
        result = refused.run("orders", partition_key="2024-01-02", fails=True)
        (failure,) = (event for event in result.all_events if event.is_step_failure)
        told = failure.step_failure_data.error_display_string
        assert "Set cursor_timezone of the load: 'partition'" in told
        tables = refused.door.rows(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'ds'"
        )
        assert ("orders",) not in tables
    for door in doors:
        resource = "ds.orders" if door.name == "factory" else "orders"
        for number, zone in enumerate(("partition", {resource: "partition"})):
            built = make_built(door, partitions=partitions, options={"cursor_timezone": zone})
            events = built.events(built.run("orders", partition_key="2024-01-02"))
            assert built.door.rows("SELECT id FROM ds.orders") == [(1,)], number
            assert events["orders"]["rows_loaded"] == 1


def test_a_misspelled_argument_of_the_run_is_told_with_the_nearest(
    make_built: Any, door_class: Any
) -> None:
    asked = {"run_params": {"write_dispositon": "replace"}}
    hint = "Did you mean 'write_disposition'"
    if door_class.name == "decorator":
        # Its arguments are those of a call in the run.
        result = make_built(door_class, **asked).run("orders", fails=True)
        (failure,) = (event for event in result.all_events if event.is_step_failure)
        assert hint in failure.step_failure_data.error_display_string
        return
    with pytest.raises(Exception) as raised:  # noqa: PT011 - Dagster wraps the component's error
        make_built(door_class, **asked)
    told = "\n".join(map(str, causes_of(raised.value)))
    assert "write_dispositon" in told
    assert hint in told
    if door_class.name == "files":
        # The line of the argument.
        assert ".yaml:" in told


def test_a_preview_shows_rows_on_the_page_through_every_door(build):
    built = build(
        settings={"preview": {"rows": 2, "exclude": ["total"]}},
        resource_settings={"users": {"preview": 1}, "details": {"preview": 0}},
    )
    found = built.events(built.run())
    orders = found["orders"]["preview"].splitlines()
    assert orders[0] == "| id | at |"
    assert len(orders) == 4
    assert orders[2].startswith("| 0 | 2024-01-01")
    users = found["users"]["preview"].splitlines()
    assert (users[0], len(users)) == ("| id | name |", 3)
    assert "preview" not in found["details"]
    assert "preview" not in found["nothing"]
