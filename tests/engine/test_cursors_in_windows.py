"""Cursors of every declaration take the window of a run, and what they cannot do is told."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import duckdb
import numpy as np
import pendulum
import pytest
from dlt.sources import incremental

from loadsmith.engine.run import run_load
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunRequest,
    Window,
)

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
HOURS = [START + timedelta(hours=hour) for hour in range(72)]


class Shop:
    """Loads days of a source into a DuckDB file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warned: list[str] = []

    def load(self, source: Any, *days: int, **settings: Any) -> None:
        for number in days:
            start = START + timedelta(days=number - 1)
            definition = LoadDefinition(
                name="shop",
                source=source,
                pipeline=PipelineSettings(
                    pipeline_name="shop",
                    dataset_name="raw",
                    pipelines_dir=str(self.folder / "p"),
                    **settings,
                ),
                destination=DestinationReference(
                    name="duckdb", params={"database": str(self.folder / "shop.duckdb")}
                ),
            )
            request = RunRequest(
                window=Window(start=start, end=start + timedelta(days=1)),
                partition_key=f"2024-01-0{number}",
                warn=self.warned.append,
            )
            with run_load(definition, request):
                pass

    def rows(self, query: str) -> list[Any]:
        with duckdb.connect(str(self.folder / "shop.duckdb")) as connection:
            return connection.sql(query).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def with_cursor(cursor: Any, value: Any, annotation: Any = Any) -> Any:
    """Return a source whose resource has a cursor of an annotation and a default."""

    def rows(at: Any = cursor) -> Any:
        yield [{"at": value(moment), "n": n} for n, moment in enumerate(HOURS)]

    rows.__annotations__["at"] = annotation
    return dlt.source(
        lambda: dlt.resource(rows, name="orders", write_disposition="append"), name="shop"
    )


@pytest.mark.parametrize(
    ("annotation", "cursor", "value"),
    [
        (None | incremental[pendulum.DateTime], incremental("at"), pendulum.instance),
        (incremental[datetime] | None, incremental("at"), lambda moment: moment),
        (incremental[str] | None, incremental("at"), datetime.isoformat),
        (Any, incremental("at", initial_value=np.int64(1_600_000_000)), seconds),
        (Any, incremental("at", initial_value=np.float64(1.6e9)), datetime.timestamp),
        (
            Any,
            incremental("at", initial_value=np.int64(1_600_000_000_000)),
            lambda moment: seconds(moment) * 1000,
        ),
        (
            Any,
            incremental("at", initial_value=Decimal(1_600_000_000)),
            lambda moment: Decimal(seconds(moment)),
        ),
        (incremental[np.int64], incremental("at"), lambda moment: np.int64(seconds(moment)).item()),
    ],
    ids=[
        "union",
        "optional",
        "text",
        "int64",
        "float64",
        "int64-milliseconds",
        "decimal",
        "int64-annotated",
    ],
)
def test_a_cursor_of_any_declaration_takes_the_window(shop, annotation, cursor, value):
    shop.load(with_cursor(cursor, value, annotation), 1, 2, 1)
    assert shop.rows("SELECT n FROM raw.orders ORDER BY n") == [(n,) for n in range(48)]


@pytest.mark.parametrize(("kind", "value"), [(str, datetime.isoformat), (datetime, lambda at: at)])
def test_a_cursor_that_the_configuration_describes_takes_the_window(shop, monkeypatch, kind, value):
    for name, text in {"CURSOR_PATH": "at", "INITIAL_VALUE": "2020-01-01T00:00:00Z"}.items():
        monkeypatch.setenv(f"SOURCES__AT__{name}", text)
    shop.load(with_cursor(dlt.config.value, value, incremental[kind]), 1, 2)
    assert shop.rows("SELECT n FROM raw.orders ORDER BY n") == [(n,) for n in range(48)]


@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_rows_without_a_cursor_that_each_partition_gets_are_told(shop, disposition):
    def rows(
        at: Any = incremental("at", initial_value=START, on_cursor_value_missing="include"),
    ) -> Any:
        yield [*({"at": moment, "n": n} for n, moment in enumerate(HOURS)), {"n": -1, "at": None}]

    resource = dlt.resource(rows, name="orders", write_disposition=disposition, primary_key="n")
    shop.load(dlt.source(lambda: resource, name="shop"), 1, 2)
    told = [line for line in shop.warned if "each partition gets all of them" in line]
    assert bool(told) == (disposition == "append")
    assert shop.rows("SELECT count(*) FROM raw.orders WHERE n = -1") == [
        (2 if disposition == "append" else 1,)
    ]


def test_what_a_cursor_bounds_further_down_is_not_told_to_be_loaded_whole(shop):
    @dlt.source(name="shop")
    def source() -> Any:
        page = dlt.resource([[0, 72]], name="page", selected=False)

        @dlt.transformer(data_from=page, write_disposition="append")
        def orders(ends: Any, at: Any = incremental("at", initial_value=START)) -> Any:
            yield [{"at": HOURS[n], "n": n} for n in range(*ends)]

        whole = dlt.resource([{"n": 1}], name="whole", write_disposition="replace")
        return page, orders, whole

    shop.load(source, 1, 2)
    assert shop.rows("SELECT count(*) FROM raw.orders") == [(48,)]
    assert {line.split(" has no ")[0] for line in shop.warned} == {"resource 'whole'"}


def test_a_relative_folder_of_schemas_stays_when_a_source_moves(shop, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)

    @dlt.source(name="shop")
    def source() -> Any:
        monkeypatch.chdir(elsewhere)
        return dlt.resource([{"n": 1}], name="orders")

    shop.load(source, 1, params={"export_schema_path": "exported"})
    assert list(elsewhere.iterdir()) == []
    assert (tmp_path / "exported").is_dir()
