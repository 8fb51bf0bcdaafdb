"""A partition is there once, however often it is loaded."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import dlt
import pytest
from days import window

from loadsmith.engine.once.claim import Claim
from loadsmith.errors import ConfigError, ResolveError, RunError
from loadsmith.model import AssetAttributes, Partition, RunOptions


@pytest.mark.parametrize("disposition", ["append", "replace"])
def test_a_day_that_is_loaded_again_is_there_once_and_no_other_day_is_touched(
    warehouse, disposition
):
    warehouse.disposition = disposition
    for number in (1, 2, 1):
        warehouse.load(number)
    assert warehouse.held() == warehouse.expected(1, 2)
    warehouse.rows[1] = [2, 3, 4]
    warehouse.load(1)
    assert warehouse.held() == warehouse.expected(1, 2)


@pytest.mark.parametrize("disposition", ["append", "replace"])
def test_ranges_and_days_are_loaded_again_in_any_order(warehouse, disposition):
    warehouse.disposition = disposition
    warehouse.load(1, 3)
    warehouse.load(2, 4)
    warehouse.load(3)
    warehouse.load(3)
    warehouse.load(1, 7)
    warehouse.load(6, 7)
    assert warehouse.held() == warehouse.expected(*range(1, 8))


def test_a_key_without_a_cursor_is_replaced(either):
    for key in ("eu", "us", "eu"):
        either.run(partition_key=key, partition_keys=(key,), source=partial(_no_cursor, key))
    assert sorted(either.ask("SELECT region, n FROM orders")) == [("eu", 1), ("us", 1)]


def test_a_key_with_a_cursor_goes_on_from_there(either):
    either.rows = {1: [1]}
    either.run(partition_key="eu", partition_keys=("eu",))
    either.rows = {1: [1], 2: [1]}
    either.run(partition_key="eu", partition_keys=("eu",))
    assert either.held() == either.expected(1, 2)


def test_a_whole_table_beside_the_events_is_replaced_as_dlt_does(either):
    either.load(1)
    either.load(2)
    assert either.ask("SELECT count(*) FROM lookup") == [(1,)]


def test_reload_append_keeps_the_way_of_dlt(either):
    either.options = RunOptions(reload="append")
    either.load(1)
    either.load(1)
    assert either.ask("SELECT count(*) FROM events") == [(4,)]


def test_a_run_of_the_whole_load_voids_what_the_ledger_knows_of_partitions(either):
    either.load(1)
    either.run()
    assert either.ask("SELECT count(*) FROM _dlt_loadsmith_loads WHERE scope LIKE '%/='") == [(0,)]


@pytest.mark.parametrize(
    ("request_", "options", "says"),
    [
        ({"params": {"limit": 1}}, {}, "limit"),
        ({"window_is_chosen": True}, {}, "window of this run"),
        ({"params": {"refresh": "drop_data"}}, {}, "refresh"),
    ],
)
def test_a_part_of_a_partition_does_not_replace_it(either, request_, options, says):
    either.load(1)
    before = either.held()
    either.options = replace(either.options, **options)
    with pytest.raises(ResolveError, match=says):
        either.load(1, **request_)
    assert either.held() == before


def test_a_day_without_rows_is_not_emptied_unless_somebody_says_so(warehouse):
    warehouse.load(1)
    warehouse.load(2)
    held = warehouse.held()
    warehouse.rows[1] = []
    with pytest.raises(RunError, match="no row came for partition 2024-01-01, which has 2 rows"):
        warehouse.load(1)
    assert warehouse.held() == held
    warehouse.options = RunOptions(on_empty="keep")
    warehouse.load(1)
    assert warehouse.held() == held
    # `truncate` is the default of dlt, so it has to be said in the run.
    warehouse.load(1, params={"on_empty": "truncate"})
    assert warehouse.held() == warehouse.expected(2)
    warehouse.rows[1] = [5]
    warehouse.options = RunOptions()
    warehouse.load(1)
    assert warehouse.held() == warehouse.expected(1, 2)


def test_a_guard_keeps_a_reload_from_removing_most_rows(either):
    either.rows[1] = list(range(1, 11))
    either.options = RunOptions(guard=0.8)
    either.load(1)
    either.rows[1] = [1, 2]
    with pytest.raises(RunError, match="at least 80%"):
        either.load(1)
    assert either.held().total() == 10
    either.rows[1] = list(range(1, 10))
    either.load(1)
    assert either.held() == either.expected(1)


@pytest.mark.parametrize("guard", [0.8, {"at_least": 0.8}])
def test_a_guard_keeps_a_table_that_is_replaced_as_a_whole(warehouse, guard):
    warehouse.disposition = "replace"
    warehouse.rows = {1: list(range(1, 11))}
    warehouse.options = RunOptions(guard=guard)
    warehouse.run()
    for ids in ([1, 2], []):
        warehouse.rows[1] = ids
        with pytest.raises(RunError, match="at least 80%"):
            warehouse.run()
        assert warehouse.held().total() == 10
    warehouse.rows[1] = list(range(1, 9))
    warehouse.run()
    assert warehouse.held() == warehouse.expected(1)


@pytest.mark.parametrize("guard", [2, -0.1, True, "0.8", {"least": 0.8}, {}, {"at_least": None}])
def test_a_guard_that_is_no_share_is_refused(guard):
    with pytest.raises(ConfigError, match="guard: take a share from 0 to 1"):
        RunOptions(guard=guard)


def left_by_a_dead_run(either, number):
    """Let a run extract a day and die."""

    def is_extracted():
        return bool(list(either.folder.glob("**/normalize/extracted/*/*")))

    with pytest.raises(InterruptedError):
        either.load(number, cancelled=is_extracted)
    assert is_extracted()


def test_a_package_of_a_dead_run_replaces_the_day(either):
    either.load(1)
    either.rows[1] = [2, 3, 4]
    left_by_a_dead_run(either, 1)
    result = either.load(1)
    (events,) = [table for table in result.tables if table.name == "events"]
    assert (events.rows_loaded, events.rows_replaced, events.rows_before) == (3, 2, 2)
    assert either.held() == either.expected(1)


def test_a_package_of_a_dead_run_is_held_by_the_guard(either):
    either.rows[1] = list(range(1, 11))
    either.options = RunOptions(guard=0.8)
    either.load(1)
    either.rows[1] = [1, 2]
    left_by_a_dead_run(either, 1)
    with pytest.raises(RunError, match="at least 80%"):
        either.load(1)
    assert either.held().total() == 10
    either.rows[1] = list(range(1, 10))
    either.load(1)
    assert either.held() == either.expected(1)


@pytest.mark.parametrize("newer", [(1, 3), (1, 1)])
def test_a_package_of_a_dead_run_gives_way_to_what_came_later(either, newer):
    left_by_a_dead_run(either, 1)
    either.rows[1] = [5, 6, 7]
    other = either.changed(folder=either.folder / "another machine")
    other.load(*newer)
    either.load(1)
    assert either.held() == either.expected(*range(1, newer[1] + 1))


@pytest.mark.parametrize("own", [True, False])
def test_a_resource_says_itself_whether_it_is_partitioned(either, own):
    either.options = RunOptions(partitioned=not own)
    either.attributes = {"events": AssetAttributes(partitioned=own)}
    for _ in range(2):
        either.load(1)
    assert set(either.held().values()) == ({1} if own else {2})


def test_a_refresh_of_all_partitions_drops_what_they_hold(either):
    either.load(1, 3)
    with pytest.raises(ResolveError, match="over all of them"):
        either.load(1, params={"refresh": "drop_resources"})
    either.rows[2] = [7]
    either.load(1, 3, params={"refresh": "drop_resources"}, has_all_partitions=True)
    assert either.held() == either.expected(1, 2, 3)


@pytest.mark.parametrize(
    ("disposition", "options", "refresh"),
    [
        ("merge", {}, "drop_resources"),
        ("append", {"reload": "append"}, "drop_data"),
        ("replace", {"reload": "append"}, "drop_sources"),
    ],
)
def test_a_refresh_of_one_partition_drops_no_other_however_rows_are_written(
    either, disposition, options, refresh
):
    either.disposition = disposition
    either.hints = {"primary_key": "id"}
    either.options = RunOptions(**options)
    either.load(1, 2)
    held = either.held()
    with pytest.raises(ResolveError, match="over all of them"):
        either.load(1, params={"refresh": refresh})
    assert either.held() == held
    # What no partition has a part of may start over.
    either.load(1, params={"refresh": refresh}, resources=("lookup",))
    assert either.ask("SELECT count(*) FROM lookup") == [(1,)]


def test_a_refresh_of_one_key_with_a_cursor_of_its_own_drops_no_other(either):
    for key in ("a", "b"):
        either.run(partition_key=key, partition_keys=(key,))
    held = either.held()
    with pytest.raises(ResolveError, match="this run loads a alone"):
        either.run(partition_key="a", partition_keys=("a",), params={"refresh": "drop_resources"})
    assert either.held() == held


def test_a_reload_that_is_none_is_refused(either):
    with pytest.raises(ConfigError, match=r"reload.*'append'"):
        either.load(1, params={"reload": "apend"})


def test_the_log_says_what_is_replaced_before_it_happens(either):
    either.load(1)
    either.said.clear()
    result = either.load(1)
    assert [line for line in either.said if "partition 2024-01-01 of 'events'" in line]
    (events,) = [table for table in result.tables if table.name == "events"]
    assert (events.rows_loaded, events.rows_replaced, events.rows_before) == (2, 2, 2)


def _no_cursor(region):
    return dlt.resource([{"region": region, "n": 1}], name="orders", write_disposition="append")


def test_a_merge_removes_rows_of_the_window_that_the_source_no_longer_has(warehouse):
    warehouse.disposition = {"disposition": "merge", "strategy": "delete-insert"}
    warehouse.hints = {"primary_key": "id"}
    for number in (1, 2):
        warehouse.load(number)
    warehouse.rows[1] = [2, 3]
    warehouse.load(1)
    assert warehouse.held()["1-1"] == 1
    warehouse.options = RunOptions(reload="replace")
    warehouse.load(1)
    assert warehouse.held() == warehouse.expected(1, 2)


def test_a_strategy_that_keeps_rows_on_purpose_is_refused(either):
    either.disposition = {"disposition": "merge", "strategy": "scd2"}
    either.options = RunOptions(reload="replace")
    with pytest.raises(ResolveError, match="scd2"):
        either.load(1)


def test_reload_by_window_removes_rows_that_the_ledger_does_not_know(either):
    either.options = RunOptions(reload="append")
    either.load(1, 2)
    either.load(1)
    assert either.held()["1-1"] == 2
    either.options = RunOptions(reload="window")
    either.load(1)
    assert either.held() == either.expected(1, 2)


def test_a_day_of_a_range_is_refused_where_its_rows_cannot_be_told_apart(either):
    either.cursor = "text"
    either.hints = {"columns": {"at": {"data_type": "text"}}}
    either.load(1, 3)
    held = either.ask("SELECT count(*) FROM events")
    with pytest.raises(ResolveError, match="came in with 2024-01-01 to 2024-01-03"):
        either.load(2)
    assert either.ask("SELECT count(*) FROM events") == held
    either.load(1, 3)
    assert either.ask("SELECT count(*) FROM events") == held


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC"])
def test_a_day_of_a_range_is_refused_where_its_clock_is_not_that_of_the_destination(either, zone):
    either.cursor = "naive"
    either.options = RunOptions(cursor_timezone=zone)
    either.load(2, 4)
    before = either.held()
    if zone == "UTC":
        either.load(3)
    else:
        with pytest.raises(ResolveError, match="Load that range"):
            either.load(3)
        either.load(2, 4)
    assert either.held() == before


def test_a_failed_resource_that_is_kept_apart_replaces_nothing(either):
    either.load(1)
    held = either.held()
    either.options = RunOptions(on_error="keep")
    either.fails = True
    with pytest.raises(RunError, match="nothing was replaced"):
        either.load(1)
    assert either.held() == held
    either.fails = False
    either.load(1)
    assert either.held() == held


def test_a_destination_that_was_emptied_is_loaded_anew(either):
    either.load(1)
    either.ask(f"DROP SCHEMA {either.dataset} CASCADE")
    either.load(1)
    assert either.held() == either.expected(1)


def test_runs_of_partitions_that_overlap_exclude_each_other():
    def claim(load, **partition):
        return Claim(
            token="t",
            scope="s",
            run_id="r",
            attempt=0,
            process="p",
            execution="e",
            lease=60.0,
            load=load,
            partition=Partition(**partition).to_dict(),
        )

    monday = claim("days", keys=("2024-01-01",), window=window(1, 1))
    tuesday = claim("days", keys=("2024-01-02",), window=window(2, 2))
    week = claim("days", window=window(1, 7))
    assert monday.concerns(week)
    assert week.concerns(tuesday)
    assert monday.concerns(claim("days"))
    assert not monday.concerns(tuesday)
    assert not monday.concerns(claim("others", window=window(1, 7)))
    assert not claim("days", keys=("eu",)).concerns(claim("days", keys=("us",)))
    both = claim("days", keys=("2024-01-01|eu",), window=window(1, 1))
    assert not both.concerns(claim("days", keys=("2024-01-01|us",), window=window(1, 1)))


def test_days_that_are_loaded_side_by_side_are_there_once(warehouse):
    warehouse.load(1, 7)
    warehouse.rows = {number: [3, 4, 5] for number in range(1, 8)}
    days = (1, 2, 2, 3)
    with ThreadPoolExecutor(len(days)) as pool:
        list(pool.map(warehouse.load, days))
    found = warehouse.held()
    assert {name: count for name, count in found.items() if name[0] in "123"} == dict(
        warehouse.expected(1, 2, 3)
    )
    assert {name for name in found if name[0] == "4"} == {"4-1", "4-2"}


def test_rows_that_the_ledger_does_not_know_stay(either):
    either.options = RunOptions(reload="append")
    either.load(1)
    either.options = RunOptions()
    either.load(1)
    either.load(1)
    # What was appended on purpose is a package of its own, which no later one replaces.
    assert set(either.held().values()) == {2}


def test_reload_by_window_is_refused_where_others_load_into_the_table(either):
    either.load(1)
    either.options = RunOptions(reload="window")
    other = either.changed(name="others")
    with pytest.raises(ResolveError, match="the load 'days' fills the table 'events', too"):
        other.load(1)


def test_reload_by_window_is_refused_for_partitions_of_two_dimensions(either):
    either.options = RunOptions(reload="window")
    with pytest.raises(ResolveError, match="of one dimension"):
        either.run(
            partition_key="2024-01-01|eu", partition_keys=("2024-01-01|eu",), window=window(1, 1)
        )


def test_a_resource_that_shares_its_table_is_not_loaded_alone(either):
    either.twin = True
    either.load(1)
    with pytest.raises(ResolveError, match="Load 'twins' in the same run"):
        either.load(1, resources=("events",))
    either.load(1)
    assert either.ask("SELECT count(*) FROM events") == [(4,)]


def test_a_whole_resource_that_appends_warns(either):
    for key in ("eu", "us"):
        either.run(partition_key=key, partition_keys=(key,), resources=("log",))
    assert [line for line in either.warned if "'log' appends all of its rows" in line]
    assert either.ask("SELECT count(*) FROM log") == [(2,)]


def test_resources_that_share_a_table_and_are_kept_apart_are_there_once(either):
    either.twin = True
    either.options = RunOptions(on_error="keep")
    either.load(1)
    either.rows[1] = [5, 6, 7]
    either.load(1)
    assert either.ask("SELECT count(*) FROM events") == [(6,)]


@pytest.mark.parametrize("name", ["MyEvents", "my events", "Ereignisse-Ä"])
def test_a_resource_of_any_name_is_there_once(either, name):
    def named(rows):
        resource = dlt.resource(rows, name=name, write_disposition="replace")
        return dlt.source(lambda: resource, name="shop")()

    for rows in ([{"n": 1}, {"n": 2}], [{"n": 3}], [{"n": 4}, {"n": 5}]):
        key = {"partition_key": "eu", "partition_keys": ("eu",)}
        result = either.run(**key, source=partial(named, rows))
        (table,) = [table for table in result.tables if table.resource == name]
        assert either.ask(f'SELECT count(*) FROM "{table.name}"') == [(len(rows),)]
