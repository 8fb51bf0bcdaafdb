"""A column that the source no longer sends is a schema change, told once and shown meanwhile."""

import uuid

import dagster as dg
import dlt
import pytest

from loadsmith.assets.decorator import dlt_assets
from loadsmith.assets.run import DagsterDltResource

POSTGRES = "postgresql://postgres:x@127.0.0.1:5432/postgres"

FULL = {"id": 1, "note": "x", "price": 2, "lines": [{"no": 1, "size": 5}]}
WITHOUT = {"id": 1, "note": "x", "lines": [{"no": 1}]}
NULL = {"id": 1, "note": None, "price": None, "lines": [{"no": 1, "size": None}]}


@pytest.fixture(
    params=["duckdb", "filesystem", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def destination(request, tmp_path):
    dataset = f"missing_{uuid.uuid4().hex[:8]}"
    if request.param == "postgres":
        # The environment of the oldest versions has no driver of PostgreSQL.
        psycopg = pytest.importorskip("psycopg")
        yield dlt.pipeline(
            "shop", destination=dlt.destinations.postgres(POSTGRES), dataset_name=dataset
        )
        with psycopg.connect(POSTGRES, autocommit=True) as connection:
            connection.execute(f"drop schema if exists {dataset} cascade")
        return
    kinds = {
        "duckdb": lambda: dlt.destinations.duckdb(str(tmp_path / "a.duckdb")),
        "filesystem": lambda: dlt.destinations.filesystem(str(tmp_path / "files")),
    }
    yield dlt.pipeline("shop", destination=kinds[request.param](), dataset_name=dataset)


@pytest.fixture
def load(instance, events_of, checks_of):
    """Load orders and return the metadata and the check `schema_change` of their asset."""

    def run(pipeline, rows, *, partition=None, **settings):
        @dlt.source(name="shop")
        def shop():
            hints = {"file_format": settings.pop("file_format", None)}
            return dlt.resource(rows, name="orders", **hints)

        @dlt_assets(
            dlt_source=shop(),
            dlt_pipeline=pipeline,
            checks=["schema_change"],
            partitions_def=dg.DailyPartitionsDefinition("2026-01-01") if partition else None,
            **settings,
        )
        def loaded(context: dg.AssetExecutionContext, dlt: DagsterDltResource):
            yield from dlt.run(context=context)

        ended = dg.materialize(
            [loaded],
            resources={"dlt": DagsterDltResource()},
            instance=instance,
            partition_key=partition,
        )
        (check,) = checks_of(ended).values()
        return events_of(ended)["dlt_shop_orders"], check

    return run


@pytest.mark.parametrize("normalizer", ["arrow", "dlt"])
def test_it_is_told_once_with_since_when_and_goes_when_it_is_back(destination, load, normalizer):
    rows = [[FULL], [WITHOUT], [], [WITHOUT, WITHOUT], [WITHOUT], [FULL]]
    runs = [load(destination, one, normalizer=normalizer) for one in rows]
    events = [event for event, _ in runs]
    since = f"load {events[1]['load_ids'][-1]}, {events[1]['finished_at']}"

    told = events[3]["schema_changes"]
    assert f"| orders | missing since {since} | price | bigint |" in told
    assert f"| orders__lines | missing since {since} | size | bigint |" in told
    assert told.count("missing") == 2
    assert [check.passed for _, check in runs] == [True, True, True, False, True, True]
    assert "missing orders.price" in runs[3][1].description

    assert ["schema_changes" in event for event in events[1:]] == [False, False, True, False, False]
    shown = ["missing_columns" in event for event in events]
    assert shown == [False, False, False, True, True, False]
    assert f"| orders | price | {since} |" in events[4]["missing_columns"]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[FULL, NULL], [NULL], [NULL], [NULL]], id="once NULL in a row"),
        pytest.param([[FULL], [NULL], [FULL], [NULL], [NULL]], id="once NULL in a run"),
        pytest.param(
            [[FULL], [{**FULL, "price": "ask"}], [{**FULL, "price": "ask"}]], id="variant"
        ),
    ],
)
def test_a_column_that_is_sometimes_null_is_not_missing(pipeline, load, rows):
    told = [event.get("schema_changes", "") for event, _ in (load(pipeline, one) for one in rows)]
    assert "missing" not in "".join(told)


def test_a_column_that_came_later_is_told_too(pipeline, load):
    rows = [[{"id": 1}], [{"id": 1, "price": 2}], [{"id": 1}], [{"id": 1}]]
    events = [load(pipeline, one)[0] for one in rows]
    assert "| orders | missing since load" in events[-1]["schema_changes"]


def test_older_partitions_and_retries_of_one_neither_tell_nor_take_it_back(pipeline, load):
    days = [("02", FULL), ("03", WITHOUT), ("03", WITHOUT), ("01", WITHOUT), ("04", WITHOUT)]
    days += [("02", FULL), ("05", WITHOUT), ("05", FULL)]
    runs = [load(pipeline, [row], partition=f"2026-01-{day}")[0] for day, row in days]
    told = ["missing" in event.get("schema_changes", "") for event in runs]
    assert told == [False, False, False, False, True, False, False, False]
    shown = ["missing_columns" in event for event in runs]
    assert shown == [False, False, False, False, True, True, True, False]


def test_nothing_is_told_of_files_that_would_have_to_be_read(pipeline, load):
    rows = [[FULL], [WITHOUT], [WITHOUT]]
    events = [load(pipeline, one, file_format="jsonl")[0] for one in rows]
    assert "loadsmith/columns" not in events[-1]
    assert "schema_changes" not in events[-1]
