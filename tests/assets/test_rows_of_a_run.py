"""A green run has loaded every row of its slice; what it would get wrong, it refuses."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import duckdb
import pytest
from dlt.sources import incremental

from loadsmith import ConfigurableDltResource, DagsterDltFactory, DagsterDltResource, dlt_assets
from loadsmith.engine.run import run_load
from loadsmith.engine.workspace import reset_cursors
from loadsmith.errors import ConfigError, UnknownArgument
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunOptions,
    RunRequest,
    SourceReference,
    Window,
)

ROWS = [{"id": number, "at": number} for number in (1, 2, 3)]


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@dataclass
class Shop:
    folder: Path
    instance: dg.DagsterInstance

    def pipeline(self) -> Any:
        return dlt.pipeline(
            "p", destination=dlt.destinations.duckdb("shop.duckdb"), dataset_name="raw"
        )

    def assets(
        self, source: Any, name: str = "loaded", *, given: Any = None, **options: Any
    ) -> Any:
        arguments = dict(given or {})

        @dlt_assets(dlt_source=source, dlt_pipeline=self.pipeline, name=name, **options)
        def loaded(context: dg.AssetExecutionContext, loads: DagsterDltResource) -> Any:
            yield from loads.run(context=context, **arguments)

        return loaded

    def run(self, *assets: Any, **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            list(assets),
            resources={"loads": DagsterDltResource()},
            instance=self.instance,
            raise_on_error=False,
            **options,
        )

    def rows(self, sql: str) -> list[Any]:
        with duckdb.connect(str(self.folder / "shop.duckdb")) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Shop(tmp_path, instance)


def rows_of(result: Any) -> dict[str, int]:
    return {
        event.asset_key.to_user_string(): event.materialization.metadata["rows_loaded"].value
        for event in result.get_asset_materialization_events()
    }


def failure_of(result: Any) -> str:
    (event,) = (event for event in result.all_events if event.is_step_failure)
    return str(event.step_failure_data.error_display_string)


def feed_and_two(prefix: str = "", *, called: bool = False) -> tuple[Any, Any, Any]:
    """A resource with a cursor, and two transformers that it feeds."""

    @dlt.resource(name=f"{prefix}p")
    def p(key: str = "k", at: Any = incremental("at")) -> Any:
        yield ROWS

    feed = p("x") if called else p

    @dlt.transformer(data_from=feed, name=f"{prefix}t")
    def t(page: Any) -> Any:
        yield [{"x": row["id"]} for row in page]

    @dlt.transformer(data_from=feed, name=f"{prefix}u")
    def u(page: Any) -> Any:
        yield [{"y": row["id"]} for row in page]

    return feed, t, u


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_keep_reads_a_feed_once_with_all_that_hangs_from_it(shop: Shop, called: bool, listed: bool):
    @dlt.source(name="s")
    def source() -> Any:
        feed, t, u = feed_and_two(called=called)
        return (feed, t, u) if listed else (t, u)

    result = shop.run(shop.assets(source, on_error="keep"))
    names = ("p", "t", "u") if listed else ("t", "u")
    assert rows_of(result) == {f"dlt_s_{name}": 3 for name in names}


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("granularity", ["table", "component"])
def test_a_cursor_that_feeds_two_tables_stays_in_one_op(
    tmp_path: Path, called: bool, listed: bool, granularity: str
):
    feed, t, u = feed_and_two("s.", called=called)
    definitions = DagsterDltFactory.build_definitions(
        [feed, t, u] if listed else [t, u],
        destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb")),
        granularity=granularity,
    )
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process()
    names = ("p", "t", "u") if listed else ("t", "u")
    assert rows_of(result) == {f"s/raw/{name}": 3 for name in names}


@pytest.mark.parametrize("called", [False, True])
def test_settings_that_would_share_a_cursor_between_ops_are_refused(tmp_path: Path, called: bool):
    _, t, u = feed_and_two("s.", called=called)
    slow = ConfigurableDltResource.config(u, meta={"dagster": {"pool": "slow"}})

    def build(**options: Any) -> dg.Definitions:
        return DagsterDltFactory.build_definitions(
            [t, slow], destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb")), **options
        )

    with pytest.raises(ConfigError, match=r"'s.t' and 's.u': both read 's.p', whose cursor"):
        build()
    # The windows of partitions bound a cursor, and leave it where it is.
    build(partitions_def=dg.DailyPartitionsDefinition("2024-01-01"))


def test_a_cursor_that_asks_for_a_scheduler_goes_on_from_its_state_without_one(shop: Shop):
    rows = list(ROWS)

    @dlt.source(name="s")
    def source() -> Any:
        @dlt.resource(name="in_arguments")
        def one(at: Any = incremental("at", allow_external_schedulers=True)) -> Any:
            yield rows

        hint = incremental("at", initial_value=0, allow_external_schedulers=True)
        return one, dlt.resource(lambda: iter([rows]), name="in_hints", incremental=hint)

    live = source()
    assert set(rows_of(shop.run(shop.assets(live))).values()) == {3}
    rows.append({"id": 4, "at": 4})
    assert set(rows_of(shop.run(shop.assets(live))).values()) == {1}


def test_several_keys_in_one_run_are_refused_where_there_is_a_cursor(shop: Shop):
    @dlt.source(name="s")
    def source(wanted: Any = (), *, has_cursor: bool = True) -> Any:
        def t(n: Any = incremental("n")) -> Any:
            yield [{"key": key, "n": n} for key in wanted for n in (1, 2)]

        def plain() -> Any:
            yield [{"key": key} for key in wanted]

        return dlt.resource(t if has_cursor else plain, name="t", write_disposition="append")

    def assets(has_cursor: bool) -> Any:
        @dlt_assets(
            dlt_source=source(has_cursor=has_cursor),
            dlt_pipeline=self_pipeline,
            name="l",
            partitions_def=dg.StaticPartitionsDefinition(["a", "b"]),
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def loaded(context: dg.AssetExecutionContext, loads: DagsterDltResource) -> Any:
            keys = list(context.partition_keys)
            yield from loads.run(context=context, dlt_source=source(keys, has_cursor=has_cursor))

        return loaded

    self_pipeline = shop.pipeline
    both = {
        "dagster/asset_partition_range_start": "a",
        "dagster/asset_partition_range_end": "b",
    }
    told = failure_of(shop.run(assets(has_cursor=True), tags=both))
    assert "backfill_policy=dg.BackfillPolicy.multi_run(1)" in told
    assert shop.run(assets(has_cursor=False), tags=both).success
    assert shop.rows("SELECT key FROM raw.t ORDER BY 1") == [("a",), ("b",)]


def test_two_loads_that_would_share_a_cursor_are_told_with_both_names(shop: Shop):
    @dlt.source(name="ga")
    def ga(prop: str) -> Any:
        @dlt.resource(write_disposition="append")
        def events(at: Any = incremental("id")) -> Any:
            yield [{"id": number, "prop": prop} for number in (1, 2)]

        return events

    one, two = shop.assets(ga("one"), "ga_one"), shop.assets(ga("two"), "ga_two")
    assert shop.run(one).success
    told = failure_of(shop.run(two))
    place = r"\(\S+\.py:\d+\)"
    both = rf"the load 'ga_two' {place} and the load 'ga_one' {place} use one pipeline name"
    assert re.search(both, told)
    assert "Give the load 'ga_two' a pipeline name of its own." in told
    assert shop.run(one).success
    assert shop.rows("SELECT prop, count(*) FROM raw.events GROUP BY 1") == [("one", 2)]


@pytest.mark.parametrize("how", ["bound", "closure"])
def test_loads_that_differ_in_what_their_functions_hold_do_not_share_a_cursor(
    shop: Shop, how: str
) -> None:
    class Client:
        def __init__(self, prop: str) -> None:
            self.prop = prop

        def get(self) -> Any:
            return [{"id": number, "prop": self.prop} for number in (1, 2)]

    def ga(prop: str) -> Any:
        def get() -> Any:
            return Client(prop).get()

        ask = Client(prop).get if how == "bound" else get

        @dlt.resource(write_disposition="append")
        def events(at: Any = incremental("id")) -> Any:
            yield ask()

        return dlt.source(lambda: events, name="ga")()

    one, two = shop.assets(ga("one"), "ga_one"), shop.assets(ga("two"), "ga_two")
    assert shop.run(one).success
    assert "Give the load 'ga_two' a pipeline name of its own." in failure_of(shop.run(two))


def test_a_run_of_one_resource_loads_all_that_its_cursor_feeds(shop: Shop) -> None:
    @dlt.source(name="feeds")
    def feeds() -> Any:
        @dlt.resource(write_disposition="append")
        def feed(at: Any = incremental("id")) -> Any:
            yield [{"id": number} for number in (1, 2, 3)]

        first = dlt.transformer(lambda page: page, data_from=feed, name="first")
        second = dlt.transformer(lambda page: page, data_from=feed, name="second")
        return feed, first, second

    assets = shop.assets(feeds(), "feeds")
    (key,) = (key for key in assets.keys if key.path[-1].endswith("first"))
    assert shop.run(assets, selection=[key]).success
    assert shop.run(assets).success
    for table in ("feed", "first", "second"):
        assert shop.rows(f"SELECT count(*) FROM raw.{table}") == [(3,)]


def definition_of(tmp_path: Path, name: str, prop: str) -> LoadDefinition:
    (tmp_path / "events_of_ga.py").write_text(
        "import dlt\n"
        "@dlt.source(name='ga')\n"
        "def ga(prop):\n"
        "    @dlt.resource(write_disposition='append', primary_key='id')\n"
        "    def events(at=dlt.sources.incremental('id')):\n"
        "        yield [{'id': number, 'prop': prop} for number in (1, 2)]\n"
        "    return events\n"
    )
    return LoadDefinition(
        name=name,
        source=SourceReference(
            module="events_of_ga.ga", params={"prop": prop}, search_path=str(tmp_path)
        ),
        pipeline=PipelineSettings(pipeline_name="p", dataset_name="raw"),
        destination=DestinationReference(
            name="duckdb", params={"database": str(tmp_path / "shop.duckdb")}
        ),
    )


def test_a_load_that_was_renamed_keeps_its_cursor(tmp_path: Path):
    def load(name: str, prop: str) -> tuple[int | None, list[str]]:
        warnings: list[str] = []
        definition = definition_of(tmp_path, name, prop)
        with run_load(definition, RunRequest(warn=warnings.append)) as result:
            return result.rows_loaded, warnings

    assert load("first_name", "one") == (2, [])
    # The same arguments: the same rows.
    assert load("second_name", "one") == (0, [])
    # Other arguments of the same load are its own.
    assert load("second_name", "two") == (0, [])
    # Another name and other arguments are another load, though this process defines one alone.
    with pytest.raises(ConfigError, match="the load 'third_name' and the load 'second_name'"):
        load("third_name", "three")
    with pytest.raises(ConfigError, match="state reset"):
        load("third_name", "three")
    assert load("second_name", "two") == (0, [])
    reset_cursors(definition_of(tmp_path, "third_name", "three"), RunRequest())
    assert load("third_name", "three") == (2, [])


def test_a_cursor_whose_owner_cannot_be_compared_is_kept_until_the_other_load_comes_back(
    tmp_path: Path,
):
    def load(name: str) -> list[str]:
        warnings: list[str] = []
        client = object()

        @dlt.source(name="ga")
        def ga() -> Any:
            @dlt.resource(write_disposition="append")
            def events(at: Any = incremental("id")) -> Any:
                assert client
                yield [{"id": 1}, {"id": 2}]

            return events

        definition = replace(definition_of(tmp_path, name, "one"), source=ga())
        with run_load(definition, RunRequest(warn=warnings.append)):
            return warnings

    assert load("first_name") == []
    (warning,) = load("second_name")
    assert "was moved by the load 'first_name' until now" in warning
    with pytest.raises(ConfigError, match="the load 'first_name' and the load 'second_name'"):
        load("first_name")


def test_a_run_with_another_table_reports_its_rows_for_the_selected_asset(shop: Shop):
    @dlt.source(name="s")
    def source() -> Any:
        return dlt.resource([{"id": 1, "tags": [{"a": 1}, {"a": 2}]}], name="t")

    for nested in (False, True):
        result = shop.run(
            shop.assets(source, given={"table_name": "x"}, nested_tables=nested, name=f"l{nested}")
        )
        assert rows_of(result)["dlt_s_t"] == 1
        assert not any("/x" in key or key.endswith("_x") for key in rows_of(result))


def test_a_source_that_changes_the_working_directory_loads(shop: Shop, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    @dlt.source(name="s")
    def source() -> Any:
        @dlt.resource(name="t")
        def rows() -> Any:
            os.chdir(elsewhere)
            yield [{"id": 1}, {"id": 2}]

        os.chdir(elsewhere)
        return rows

    definition = LoadDefinition(
        name="l",
        source=source,
        pipeline=PipelineSettings(pipeline_name="p", dataset_name="raw", pipelines_dir="pipelines"),
        destination=DestinationReference(name="duckdb", params={"database": "shop.duckdb"}),
    )
    with run_load(definition, RunRequest()) as result:
        assert result.rows_loaded == 2
    assert Path.cwd() == tmp_path
    assert list(elsewhere.iterdir()) == []
    assert shop.rows("SELECT count(*) FROM raw.t") == [(2,)]


def test_arguments_that_hold_the_window_need_no_cursor(tmp_path: Path):
    start = datetime(2024, 1, 1, tzinfo=timezone.utc)
    window = Window(start=start, end=start + timedelta(days=1))

    def warnings_of(**request: Any) -> list[str]:
        warnings: list[str] = []
        definition = LoadDefinition(
            name="l",
            source=lambda: dlt.resource([{"id": 1}], name="t"),
            pipeline=PipelineSettings(pipeline_name="p", dataset_name="raw"),
            destination=DestinationReference(
                name="duckdb", params={"database": str(tmp_path / "shop.duckdb")}
            ),
        )
        with run_load(definition, RunRequest(window=window, warn=warnings.append, **request)):
            return warnings

    assert len(warnings_of()) == 1
    assert warnings_of(arguments_hold_window=True) == []


def test_arguments_of_a_run_are_checked_when_they_are_given():
    for make in (
        lambda: RunRequest(params={"write_dispositon": "replace"}),
        lambda: RunOptions(params={"write_dispositon": "replace"}),
    ):
        with pytest.raises(UnknownArgument, match="Did you mean 'write_disposition'"):
            make()
        with pytest.raises(TypeError):
            make()


@pytest.mark.parametrize(
    "wrong",
    [{"refresh": "drop_source"}, {"refresh": "Drop_Data"}, {"limit": 0}, {"limit": "x"}],
)
def test_values_that_would_drop_or_load_more_than_was_meant_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=name):
        RunRequest(params=wrong)


def test_the_first_loads_of_several_threads_do_not_meet_in_an_import(tmp_path: Path):
    program = f"""
import threading
import dlt
from loadsmith.engine.run import run_load
from loadsmith.engine.workspace import reset_cursors
from loadsmith.model import DestinationReference, LoadDefinition, PipelineSettings, RunRequest

failed, begin = [], threading.Barrier(6)

def load(number):
    try:
        begin.wait()
        definition = LoadDefinition(
            name=f"l{{number}}",
            source=lambda: dlt.resource([{{"id": 1}}], name="t"),
            pipeline=PipelineSettings(pipeline_name=f"p{{number}}", dataset_name="raw"),
            destination=DestinationReference(
                name="filesystem", params={{"bucket_url": {str(tmp_path)!r} + f"/{{number}}"}}
            ),
        )
        with run_load(definition, RunRequest()):
            pass
    except BaseException as error:
        failed.append(error)

threads = [threading.Thread(target=load, args=(number,)) for number in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
