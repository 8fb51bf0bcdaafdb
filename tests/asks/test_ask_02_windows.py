"""Ask 2: the window of a partition reaches dlt, whatever the type of the cursor."""

# dlt reads the cursor of a resource from a default argument.

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg
import dlt
import pyarrow as pa
import pytest
from dlt.sources import incremental

UTC = timezone.utc
#: Three moments of each of five days: the first, one in the middle, and the last minute.
MOMENTS = [
    datetime(2024, 1, day, hour, minute, tzinfo=UTC)
    for day in (1, 2, 3, 4, 5)
    for hour, minute in ((0, 0), (12, 30), (23, 59))
]
FIRST = datetime(2023, 1, 1, tzinfo=UTC)
DAILY = dg.DailyPartitionsDefinition("2024-01-01")


def iso(moment: datetime) -> str:
    return moment.isoformat()


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def text(form: str) -> Callable[[datetime], str]:
    return lambda moment: moment.strftime(form)


CURSORS: dict[str, tuple[Callable[[datetime], Any], Any]] = {
    "datetime": (lambda moment: moment, incremental[datetime]("at", initial_value=FIRST)),
    "datetime_undeclared": (lambda moment: moment, incremental("at")),
    "datetime_naive": (lambda moment: moment.replace(tzinfo=None), incremental("at")),
    "date": (lambda moment: moment.date(), incremental("at", initial_value=date(2023, 1, 1))),
    "date_undeclared": (lambda moment: moment.date(), incremental("at")),
    "text_z": (
        text("%Y-%m-%dT%H:%M:%SZ"),
        incremental("at", initial_value="2023-01-01T00:00:00Z"),
    ),
    "text_zone": (iso, incremental("at", initial_value="2023-01-01T00:00:00+00:00")),
    "text_milliseconds": (
        text("%Y-%m-%dT%H:%M:%S.500Z"),
        incremental("at", initial_value="2023-01-01T00:00:00.000Z"),
    ),
    "text_date": (text("%Y-%m-%d"), incremental("at", initial_value="2023-01-01")),
    "text_space": (
        text("%Y-%m-%d %H:%M:%S"),
        incremental("at", initial_value="2023-01-01 00:00:00"),
    ),
    "text_declared": (iso, incremental[str]("at")),
    "text_undeclared": (iso, incremental("at")),
    "text_other_zone": (
        lambda moment: iso(moment.astimezone(timezone(timedelta(hours=5)))),
        incremental("at"),
    ),
    "seconds": (seconds, incremental[int]("at", initial_value=0)),
    "seconds_undeclared": (seconds, incremental("at")),
    "seconds_float": (lambda moment: moment.timestamp(), incremental[float]("at")),
    "milliseconds": (milliseconds, incremental("at", initial_value=milliseconds(FIRST))),
    "milliseconds_from_zero": (milliseconds, incremental("at", initial_value=0)),
    "milliseconds_undeclared": (milliseconds, incremental("at")),
    "newest_first": (iso, incremental("at", initial_value=iso(FIRST), row_order="desc")),
    "json_path": (iso, incremental("$.at", initial_value=iso(FIRST))),
}


@dlt.source(name="w")
def windowed() -> Any:
    """Every kind of cursor, each as an argument of its function."""

    def resource(name: str, convert: Callable[[datetime], Any], cursor: Any) -> Any:
        def rows(at: Any = cursor) -> Any:
            ordered = list(enumerate(MOMENTS))
            for number, moment in reversed(ordered) if cursor.row_order == "desc" else ordered:
                yield {"id": number, "at": convert(moment)}

        return dlt.resource(rows, name=name)

    @dlt.resource(incremental=incremental("at", initial_value=iso(FIRST)))
    def as_hint() -> Any:
        yield [{"id": number, "at": iso(moment)} for number, moment in enumerate(MOMENTS)]

    @dlt.resource
    def arrow(at: Any = incremental("at")) -> Any:
        yield pa.table({"id": range(len(MOMENTS)), "at": MOMENTS})

    @dlt.resource
    def arrow_declared(at: Any = incremental[datetime]("at")) -> Any:
        yield pa.table({"id": range(len(MOMENTS)), "at": MOMENTS})

    return [
        *(resource(name, *cursor) for name, cursor in CURSORS.items()),
        as_hint,
        arrow,
        arrow_declared,
    ]


NAMES = (*CURSORS, "as_hint", "arrow", "arrow_declared")


@pytest.fixture(scope="module")
def source() -> Any:
    """One live source for all runs, as a code location has it."""
    return windowed()


def in_all(*numbers: int) -> dict[str, list[int]]:
    return {name: list(numbers) for name in NAMES}


def loaded(shop: Any) -> dict[str, list[int]]:
    found = {
        name: [row[0] for row in shop.rows(f"SELECT id FROM ds.{name} ORDER BY id")]
        for name in NAMES
    }
    for name in NAMES:
        shop.rows(f"DELETE FROM ds.{name}")
    return found


def test_ask_02_a_day_a_range_and_another_day_load_exactly_their_window(
    shop: Any, source: Any
) -> None:
    assets = shop.assets(source, partitions_def=DAILY)
    third = shop.run(assets, partition_key="2024-01-03")
    assert loaded(shop) == in_all(6, 7, 8)
    assert third.events["dlt_w_seconds"]["rows_loaded"] == 3

    tags = {
        "dagster/asset_partition_range_start": "2024-01-02",
        "dagster/asset_partition_range_end": "2024-01-03",
    }
    shop.run(assets, tags=tags)
    assert loaded(shop) == in_all(*range(3, 9))

    shop.run(assets, partition_key="2024-01-05")
    assert loaded(shop) == in_all(12, 13, 14)


def test_ask_02_a_run_without_a_window_is_not_bound_by_that_of_the_run_before(
    shop: Any, source: Any
) -> None:
    config = {"window": {"start": "2024-01-03", "end": "2024-01-04"}}
    assets = shop.assets(source)
    shop.run(assets, run_config={"ops": {"loaded": {"config": config}}})
    assert loaded(shop) == in_all(6, 7, 8)
    shop.run(assets)
    assert loaded(shop) == in_all(*range(len(MOMENTS)))


def test_ask_02_a_window_leaves_the_stored_cursor_alone(shop: Any) -> None:
    assets = shop.assets(windowed().with_resources("text_z"))
    before = shop.run(assets).events["dlt_w_text_z"]["cursor"]
    config = {"window": {"start": "2024-01-03", "end": "2024-01-04"}}
    shop.run(assets, run_config={"ops": {"loaded": {"config": config}}})
    after = shop.run(assets).events["dlt_w_text_z"]
    assert after["rows_loaded"] == 0
    assert after["cursor"]["last_value"] == before["last_value"]


def test_ask_02_the_window_is_what_the_source_sees(shop: Any) -> None:
    seen = []

    @dlt.resource
    def asked(at: Any = incremental("at", initial_value="2023-01-01")) -> Any:
        seen.append(f"?from={at.start_value}&to={at.end_value}")
        yield {"at": "2024-01-03"}

    shop.run(shop.assets(_source_of(asked), partitions_def=DAILY), partition_key="2024-01-03")
    assert seen == ["?from=2024-01-03&to=2024-01-04"]


def test_ask_02_an_initial_value_inside_of_the_window_is_kept(shop: Any) -> None:
    @dlt.resource
    def late(at: Any = incremental("at", initial_value="2024-01-03T12:00:00Z")) -> Any:
        yield [{"id": number, "at": iso(moment)} for number, moment in enumerate(MOMENTS)]

    shop.run(shop.assets(_source_of(late), partitions_def=DAILY), partition_key="2024-01-03")
    assert shop.rows("SELECT id FROM ds.late ORDER BY id") == [(7,), (8,)]


def test_ask_02_what_feeds_a_transformer_is_bound_too(shop: Any) -> None:
    first = iso(FIRST)

    @dlt.resource
    def users(at: Any = incremental("at", initial_value=first)) -> Any:
        yield [{"id": number, "at": iso(moment)} for number, moment in enumerate(MOMENTS)]

    @dlt.transformer(data_from=users)
    def details(page: Any) -> Any:
        yield [{"user_id": user["id"]} for user in page]

    assets = shop.assets(_source_of(users, details), partitions_def=DAILY)
    shop.run(assets, partition_key="2024-01-03", selection=["dlt_one_details"])
    assert shop.rows("SELECT user_id FROM ds.details ORDER BY 1") == [(6,), (7,), (8,)]


def test_ask_02_a_database_table_is_asked_for_the_window(shop: Any, tmp_path: Any) -> None:
    import sqlite3

    from dlt.sources.sql_database import sql_table

    with sqlite3.connect(tmp_path / "orders.sqlite") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, at TIMESTAMP)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?)",
            [
                (number, moment.strftime("%Y-%m-%d %H:%M:%S.%f"))
                for number, moment in enumerate(MOMENTS)
            ],
        )

    def orders(**options: Any) -> Any:
        return sql_table(
            credentials=f"sqlite:///{tmp_path / 'orders.sqlite'}",
            table="orders",
            incremental=incremental("at"),
            **options,
        )

    for options in ({}, {"defer_table_reflect": True}):
        assets = shop.assets(_source_of(orders(**options)), partitions_def=DAILY)
        shop.run(assets, partition_key="2024-01-03")
        assert shop.rows("SELECT id FROM ds.orders ORDER BY id") == [(6,), (7,), (8,)]
        shop.rows("DELETE FROM ds.orders")


@pytest.mark.parametrize(
    ("cursor", "said"),
    [
        (None, "has no incremental cursor that takes the window"),
        (incremental("id", allow_external_schedulers=False), "refuses external schedulers"),
        (incremental("id", initial_value=0), "are read as Unix times"),
        (incremental("id"), "are read as Unix times"),
    ],
)
def test_ask_02_a_load_that_cannot_take_the_window_warns(shop: Any, cursor: Any, said: str) -> None:
    rows = dlt.resource([{"id": 1}], name="rows")
    if cursor is not None:
        rows.apply_hints(incremental=cursor)
    assets = shop.assets(_source_of(rows), partitions_def=DAILY)
    assert said in shop.run(assets, partition_key="2024-01-03").log


def _source_of(*resources: Any) -> Any:
    @dlt.source(name="one")
    def one() -> Any:
        return resources

    return one()
