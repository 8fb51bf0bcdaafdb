"""Any number of loads run at the same time into one dataset, with no limit set."""

import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import dlt
import duckdb
import killing
import pytest
from killing import POSTGRES, Shop, in_child, run_batch

from loadsmith.engine.run import run_load
from loadsmith.model import LoadDefinition, PipelineSettings, RunArguments, RunRequest

KEYS = [f"key{number}" for number in range(8)]
STATIC = dg.StaticPartitionsDefinition(KEYS)


def part_source(shop: Shop, key: str, batch: int = 0):
    """A source whose rows and columns belong to one partition."""
    number = KEYS.index(key)
    own = [{"id": number * 100 + n, f"only_{key}": n, "items": [{"n": n}]} for n in range(20)]

    @dlt.source(name="shop")
    def parts():
        @dlt.resource(write_disposition="append")
        def events():
            yield own

        @dlt.resource(write_disposition="append")
        def log(at=dlt.sources.incremental("id", initial_value=-1)):
            # The rows of a partition come before those of the one before it, so that a cursor
            # that two partitions shared would leave out rows.
            first = (len(KEYS) - number) * 1000
            yield [{"id": first + n, "at": n} for n in range(10 * (batch + 1))]

        @dlt.resource(write_disposition="merge", primary_key="id")
        def orders():
            yield own

        return events, log, orders

    return parts


def load_part(shop: Shop, key: str, batch: int = 0) -> bool:
    """Load one partition, as a run of Dagster of its own."""
    result = run_batch(
        shop,
        batch,
        source=part_source(shop, key, batch),
        partition=key,
        partitions_def=STATIC,
    )
    return result.success


def assert_complete(shop: Shop, *, parts: int, log_rows: int) -> None:
    ids = [(number * 100 + n,) for number in range(parts) for n in range(20)]
    assert shop.read("events", "id") == ids
    assert shop.read("orders", "id") == ids
    logged = shop.read("log", "id")
    assert len(logged) == len(set(logged)) == parts * log_rows
    for table in ("events", "orders"):
        roots = {key for (key,) in shop.read(table, "_dlt_id")}
        nested = [parent for (parent,) in shop.read(f"{table}__items", "_dlt_parent_id")]
        assert len(nested) == len(ids)
        assert set(nested) == roots
    assert shop.staging_datasets() == []


def run_in_children(tasks, output) -> None:
    children = [in_child(*task, output=output) for task in tasks]
    for child in children:
        child.join(100)
    assert [child.exitcode for child in children] == [0] * len(children), output.read_text()[-5000:]


@pytest.mark.parametrize(
    "destination",
    ["duckdb", pytest.param("postgres", marks=pytest.mark.postgres), "filesystem"],
)
def test_partitions_at_once_in_processes_of_several_machines(make_shop, destination):
    # Each has a working directory of its own where it is another machine; all change the schema.
    shop = make_shop(destination)
    parts = 6
    machines = [
        Shop(shop.folder, destination, shop.dataset, machine=f"m{number % 3}")
        for number in range(parts)
    ]
    for batch in range(2):
        tasks = [
            (load_part, machine, key, batch) for machine, key in zip(machines, KEYS, strict=False)
        ]
        if batch == 1:
            # A cursor is the partition's own: only the rows that are new come.
            tasks = tasks[:1]
        if batch == 0:
            run_in_children(tasks, shop.folder / "log")
            assert_complete(shop, parts=parts, log_rows=10)
    run_in_children(tasks, shop.folder / "log")
    assert len(shop.read("log", "id")) == parts * 10 + 10


def test_partitions_at_once_in_threads(make_shop):
    shop = make_shop("duckdb")
    done = {}
    threads = [
        threading.Thread(target=lambda key=key: done.update({key: load_part(shop, key)}))
        for key in KEYS[:4]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert done == dict.fromkeys(KEYS[:4], True)
    assert_complete(shop, parts=4, log_rows=10)


def definition_of(shop: Shop, name: str, source, *, shares: bool = False) -> LoadDefinition:
    return LoadDefinition(
        name=name,
        source=source,
        pipeline=PipelineSettings(
            pipeline_name=shop.pipeline_name,
            dataset_name=shop.dataset,
            pipelines_dir=str(shop.pipelines_dir),
        ),
        owns_pipeline_name=not shares,
    )


def run(shop: Shop, definition: LoadDefinition, on_wait=lambda _line: None):
    lines = []

    def note(line: str) -> None:
        lines.append(line)
        if "waiting for" in line:
            on_wait(line)

    wanted = RunRequest(
        params=RunArguments(destination=shop.make_destination()), log=note, warn=note
    )
    with run_load(definition, wanted) as result:
        pass
    return result, lines


def test_loads_that_share_a_pipeline_name_keep_all_cursors(make_shop):
    shop = make_shop("duckdb")

    def source_of(name: str, rows: int):
        @dlt.source(name="shared")
        def shared():
            return dlt.resource(
                lambda at=dlt.sources.incremental("id", initial_value=-1): iter(
                    [[{"id": n} for n in range(rows)]]
                ),
                name=name,
            )

        return shared

    names = ("alpha", "beta", "gamma")
    for rows in (5, 8):
        threads = [
            threading.Thread(
                target=run,
                args=(shop, definition_of(shop, name, source_of(name, rows), shares=True)),
            )
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for name in names:
            assert shop.read(name, "id") == [(n,) for n in range(rows)]


def test_a_wait_for_another_load_is_logged_with_who_holds_the_destination(make_shop):
    shop = make_shop("duckdb")
    entered, noticed = threading.Event(), threading.Event()

    @dlt.source(name="slow")
    def slow():
        return dlt.resource([{"id": 1}], name="rows")

    def hold():
        from loadsmith.engine.locks import destination_lock

        with destination_lock(
            shop.folder / "shop.duckdb", log=lambda _line: None, who="the load of somebody"
        ):
            entered.set()
            noticed.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    result, lines = run(shop, definition_of(shop, "slow", slow), lambda _line: noticed.set())
    holder.join()
    assert any("the load of somebody" in line for line in lines)
    assert any(wait.holder and "somebody" in wait.holder for wait in result.waits)


def test_a_database_that_another_program_has_open_is_waited_for(make_shop):
    shop = make_shop("duckdb")
    path = shop.folder / "shop.duckdb"
    duckdb.connect(str(path)).close()
    program = (
        "import duckdb, sys, time\n"
        f"connection = duckdb.connect({str(path)!r}, read_only=True)\n"
        "print('open', flush=True)\n"
        "time.sleep(60)\n"
    )
    stranger = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert stranger.stdout is not None
    assert stranger.stdout.readline() == b"open\n"

    @dlt.source(name="waiting")
    def waiting():
        return dlt.resource([{"id": 1}], name="rows")

    _, lines = run(shop, definition_of(shop, "waiting", waiting), lambda _line: stranger.kill())
    stranger.communicate()
    assert shop.read("rows", "id") == [(1,)]
    assert any("shop.duckdb" in line and "waiting for" in line for line in lines)


def test_dlts_own_command_shows_a_load_without_partitions(make_shop):
    shop = make_shop("duckdb")

    @dlt.source(name="plain")
    def plain():
        return dlt.resource([{"id": 1}], name="rows")

    run(shop, definition_of(shop, "plain", plain))
    shown = subprocess.run(
        [
            str(Path(sys.executable).with_name("dlt")),
            "pipeline",
            "--pipelines-dir",
            str(shop.pipelines_dir),
            shop.pipeline_name,
            "info",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "rows" in shown.stdout


@pytest.mark.postgres
def test_what_another_running_load_has_written_is_not_taken_for_a_dead_ones(make_shop):
    # Undoing a dead load looks for nested rows without a root row. Those of a load that is
    # writing look the same for a moment, so that it has to be waited for.
    import psycopg2

    shop = make_shop("postgres")
    assert load_part(shop, KEYS[0])
    writer = psycopg2.connect(POSTGRES)
    cursor = writer.cursor()
    cursor.execute("SELECT pg_advisory_lock_shared(hashtext(%s))", (f"loadsmith {shop.dataset}",))
    log = shop.folder / "log"
    dead = in_child(killing.load_batches, shop, (0,), "append job done", output=log)
    dead.join(60)
    assert dead.exitcode == -9
    again = in_child(killing.load_batches, shop, (0,), None, output=log)
    again.join(3)
    assert again.is_alive()
    cursor.execute("SELECT pg_advisory_unlock_shared(hashtext(%s))", (f"loadsmith {shop.dataset}",))
    again.join(60)
    writer.close()
    assert again.exitcode == 0
