"""A cursor is the one that was stored last, and goes when its package is not there any more."""

import shutil

import psycopg2
import pytest
from attempts import Attempt, Runs, make_pipeline_of, source_of
from killing import POSTGRES

from loadsmith.engine.workspace.names import names_of
from loadsmith.engine.workspace.state import fetch_state
from loadsmith.model import Slice


@pytest.fixture
def make_runs(make_shop):
    def make(destination: str) -> Runs:
        return Runs(make_shop(destination))

    return make


def upto(last: int, run_id: str, **settings: object) -> Attempt:
    """Return an attempt whose source has rows up to one, and a cursor."""
    return Attempt(run_id, rows=last, with_cursor=True, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("destination", ["duckdb", "filesystem"])
def test_a_clock_that_is_ahead_once_moves_no_cursor_back(make_runs, destination):
    runs = make_runs(destination)
    runs.run(upto(10, "ahead", clock=3600, partition="eu"))
    runs.run(upto(20, "right", partition="eu"))
    runs.run(upto(30, "again", partition="eu"))
    runs.assert_each_once(30)


def test_a_backup_that_was_restored_takes_the_cursor_back(make_runs):
    runs = make_runs("duckdb")
    database = runs.folder / "shop.duckdb"
    runs.run(upto(10, "first"))
    shutil.copy(database, runs.folder / "backup")
    runs.run(upto(20, "second"))
    shutil.copy(runs.folder / "backup", database)
    log = runs.run(upto(30, "third"))
    assert "the state of resource 'rows' goes back" in log
    runs.assert_each_once(30)


@pytest.mark.postgres
def test_a_cursor_goes_with_the_dataset_and_stays_where_a_table_was_emptied(make_runs):
    runs = make_runs("postgres")
    runs.run(upto(10, "first"))
    ask(f"DELETE FROM {runs.shop.dataset}.rows")
    ask(f"DELETE FROM {runs.shop.dataset}.rows__items")
    log = runs.run(upto(20, "second"))
    assert "discarded" not in log
    assert sorted(runs.ids()) == list(range(10, 20))
    ask(f"DROP SCHEMA {runs.shop.dataset} CASCADE")
    log = runs.run(upto(20, "third"))
    assert "the state of resource 'rows' is discarded" in log
    runs.assert_each_once(20)


@pytest.mark.postgres
def test_a_cursor_whose_package_is_not_marked_any_more_is_discarded(make_runs):
    runs = make_runs("postgres")
    runs.run(upto(10, "first"))
    ask(f"DELETE FROM {runs.shop.dataset}._dlt_loads")
    ask(f"DELETE FROM {runs.shop.dataset}.rows")
    ask(f"DELETE FROM {runs.shop.dataset}.rows__items")
    log = runs.run(upto(20, "second"))
    assert "the state of resource 'rows' is discarded" in log
    runs.assert_each_once(20)


@pytest.mark.parametrize(
    "destination", ["duckdb", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def test_plain_dlt_goes_on_from_the_cursor_and_the_next_run_from_there(make_runs, destination):
    runs = make_runs(destination)
    runs.run(upto(10, "first"))
    pipeline = make_pipeline_of(runs.shop, "plain")
    pipeline.run(source_of(upto(20, "plain"))())
    runs.run(upto(30, "third"))
    runs.assert_each_once(30)


@pytest.mark.postgres
def test_more_loads_under_one_name_than_any_limit_lose_no_cursor(make_runs):
    runs = make_runs("postgres")
    pipeline = make_pipeline_of(runs.shop, "many")
    for number in range(3):
        pipeline.run(source_of(upto(10, str(number)))().with_resources("rows"))
    # As others of the same name would, each with what it knew of this one.
    dataset = runs.shop.dataset
    ask(
        f"INSERT INTO {dataset}._dlt_pipeline_state SELECT s.version, s.engine_version,"
        " s.pipeline_name, s.state, s.created_at, s.version_hash,"
        f" (9000000000 + n)::text, 'id' || n FROM {dataset}._dlt_pipeline_state s,"
        " generate_series(1, 300) n WHERE s.version = 2"
    )
    ask(
        f"INSERT INTO {dataset}._dlt_loads(load_id, schema_name, status, inserted_at)"
        " SELECT (9000000000 + n)::text, 'shop', 0, now() FROM generate_series(1, 300) n"
    )
    names = names_of(
        Slice(load="load", pipeline_name="attempts", owns_pipeline_name=False), runs.folder
    )
    known = fetch_state(pipeline, names)
    assert known is not None
    cursor = known.leaves["shop", "resources", "rows"]["incremental"]["id"]
    assert cursor["last_value"] == 9


@pytest.mark.postgres
@pytest.mark.parametrize("stops_at", [None, "extract ended", "append job done"])
def test_what_the_version_before_has_left_is_found(make_runs, stops_at):
    runs = make_runs("postgres")
    runs.run(upto(10, "first"))
    if stops_at is None:
        make_released(runs.shop.dataset)
    else:
        stopped = runs.start_and_stop(upto(20, "second", stops_at=stops_at))
        stopped.kill()
        stopped.join(60)
        make_released(runs.shop.dataset)
        (runs.folder / "m0" / "attempts" / ".sequence").unlink()
    runs.run(upto(30, "third", root_run_id="second"))
    runs.assert_each_once(30)
    runs.run(upto(40, "fourth", machine="m1"))
    runs.assert_each_once(40)


def make_released(dataset: str) -> None:
    """Make of what is beside the data what 0.1 would have written."""
    for table in ("states", "claims", "leases"):
        ask(f"DROP TABLE {dataset}._dlt_loadsmith_{table}")
    ledger = f"{dataset}._dlt_loadsmith_loads"
    ask(f"ALTER TABLE {ledger} DROP COLUMN sequence")
    fields = "'slice', 'execution', 'token', 'marked', 'undone', 'check'"
    ask(f"UPDATE {ledger} SET payload = ((payload::jsonb) - ARRAY[{fields}])::text")


def ask(statement: str) -> None:
    connection = psycopg2.connect(POSTGRES)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()
