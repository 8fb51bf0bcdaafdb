"""Ask 2: windows in cursors that run backwards, and in pages whose column nobody declared."""

# dlt reads the cursor of a resource from a default argument.

from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import dagster as dg
import dlt
import pandas as pd
import pyarrow as pa
import pytest
from dlt.sources import incremental

UTC = timezone.utc
#: The first and the last moment of each of four days.
MOMENTS = [
    datetime(2024, 1, day, hour, minute, tzinfo=UTC)
    for day in (1, 2, 3, 4)
    for hour, minute in ((0, 0), (23, 59))
]
DAILY = dg.DailyPartitionsDefinition("2024-01-01")
#: Which of them are of the second and the third day.
OF_THE_SECOND, OF_THE_THIRD = [(2,), (3,)], [(4,), (5,)]


def number(unit: int) -> Callable[[datetime], int]:
    return lambda moment: int(moment.timestamp()) * unit


def day_number(moment: datetime) -> int:
    return int(moment.strftime("%Y%m%d"))


def text(form: str) -> Callable[[datetime], str]:
    return lambda moment: moment.strftime(form)


VALUES: dict[str, Callable[[datetime], Any]] = {
    "seconds": number(1),
    "milliseconds": number(1000),
    "microseconds": number(10**6),
    "nanoseconds": number(10**9),
    "days_as_numbers": day_number,
    "seconds_as_floats": lambda moment: moment.timestamp(),
    "decimals": lambda moment: Decimal(int(moment.timestamp())),
    "timestamps": lambda moment: moment,
    "timestamps_without_zone": lambda moment: moment.replace(tzinfo=None),
    "dates": lambda moment: moment.date(),
    "texts": text("%Y-%m-%dT%H:%M:%S.500Z"),
    "texts_of_days": text("%Y-%m-%d"),
}

#: What a resource says of its cursor: nothing, the type, or where it starts.
DECLARED: dict[str, Callable[[], Any]] = {
    "undeclared": lambda: incremental("at"),
    "min": lambda: incremental("at", last_value_func=min),
}


def page_of(kind: str, form: str) -> Any:
    values = [VALUES[kind](moment) for moment in MOMENTS]
    ids = list(range(len(MOMENTS)))
    if form == "arrow":
        return pa.table({"id": ids, "at": values})
    if form == "pandas":
        return pd.DataFrame({"id": ids, "at": values})
    return [{"id": id_, "at": value} for id_, value in zip(ids, values, strict=True)]


def source_of(page: Any, cursor: Any) -> Any:
    @dlt.source(name="one")
    def one() -> Any:
        @dlt.resource(name="rows", write_disposition="replace")
        def rows(at: Any = cursor) -> Any:
            yield page

        return rows

    return one()


@pytest.mark.parametrize("form", ["arrow", "pandas", "rows"])
@pytest.mark.parametrize("declared", ["undeclared", "min"])
def test_ask_02_a_column_of_any_type_takes_the_window(shop: Any, declared: str, form: str) -> None:
    @dlt.source(name="many")
    def many() -> Any:
        def resource(kind: str) -> Any:
            def rows(at: Any = DECLARED[declared]()) -> Any:  # noqa: B008 - dlt finds a cursor here
                yield page_of(kind, form)

            return dlt.resource(rows, name=kind, write_disposition="replace")

        return [resource(kind) for kind in VALUES if (kind, form) != ("decimals", "rows")]

    assets = shop.assets(many(), partitions_def=DAILY)
    # A day replaces its own rows, and leaves those of the day before.
    both = [*OF_THE_SECOND, *OF_THE_THIRD]
    for day, expected in (("2024-01-02", OF_THE_SECOND), ("2024-01-03", both)):
        shop.run(assets, partition_key=day)
        got = {
            kind: shop.rows(f"SELECT id FROM ds.{kind} ORDER BY id")
            for kind in VALUES
            if (kind, form) != ("decimals", "rows")
        }
        assert got == dict.fromkeys(got, expected)


@pytest.mark.parametrize(
    ("kind", "cursor"),
    [
        ("milliseconds", lambda: incremental[int]("at")),
        ("days_as_numbers", lambda: incremental("at", initial_value=20230101)),
        ("days_as_numbers", lambda: incremental[int]("at", initial_value=0)),
        ("microseconds", lambda: incremental("at", initial_value=number(10**6)(MOMENTS[0]))),
        ("texts", lambda: incremental[str]("at")),
        ("dates", lambda: incremental[date]("at", last_value_func="min")),
        ("timestamps", lambda: incremental[datetime]("at", last_value_func="min")),
        ("seconds", lambda: incremental[int]("at", last_value_func=min, row_order="desc")),
    ],
)
@pytest.mark.parametrize("form", ["arrow", "rows"])
def test_ask_02_what_is_declared_of_a_cursor_takes_the_window_too(
    shop: Any, kind: str, cursor: Any, form: str
) -> None:
    page = page_of(kind, form)
    if "desc" in str(cursor().row_order):
        page = page[::-1] if form == "rows" else page.take(list(range(len(MOMENTS)))[::-1])
    told = shop.run(
        shop.assets(source_of(page, cursor()), partitions_def=DAILY), partition_key="2024-01-03"
    )
    assert shop.rows("SELECT id FROM ds.rows ORDER BY id") == OF_THE_THIRD
    assert told.events["dlt_one_rows"]["rows_loaded"] == 2


def test_ask_02_a_value_that_is_missing_is_as_the_source_says(shop: Any) -> None:
    page = pa.table({"id": [1, 2, 3], "at": [None, "2024-01-03T10:00:00Z", "2024-01-05"]})
    for missing, expected in (("include", [(1,), (2,)]), ("exclude", [(2,)])):
        cursor = incremental("at", on_cursor_value_missing=missing)
        assets = shop.assets(source_of(page, cursor), partitions_def=DAILY)
        shop.run(assets, partition_key="2024-01-03")
        assert shop.rows("SELECT id FROM ds.rows ORDER BY id") == expected
    raising = shop.assets(source_of(page, incremental("at")), partitions_def=DAILY)
    assert (
        "CursorPathHasValueNone"
        in shop.run(raising, partition_key="2024-01-03", fails=True).failure
    )


def test_ask_02_a_cursor_with_an_order_of_its_own_is_refused(shop: Any) -> None:
    def longest(values: Any) -> Any:
        return max(values, key=len)

    cursor = incremental("at", last_value_func=longest)
    assets = shop.assets(source_of(page_of("texts", "rows"), cursor), partitions_def=DAILY)
    told = shop.run(assets, partition_key="2024-01-03", fails=True)
    assert "resource 'rows': its cursor 'at' is ordered by 'longest'" in told.failure
    # Without a window it is dlt's own affair.
    plain = shop.assets(source_of(page_of("texts", "rows"), cursor))
    shop.run(plain)
    assert shop.rows("SELECT count(*) FROM ds.rows") == [(len(MOMENTS),)]


def test_ask_02_a_database_is_asked_for_the_window_of_a_cursor_that_runs_backwards(
    shop: Any, tmp_path: Any
) -> None:
    import sqlite3

    from dlt.sources.sql_database import sql_table

    with sqlite3.connect(tmp_path / "orders.sqlite") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, at TIMESTAMP)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?)",
            [(id_, moment.strftime("%Y-%m-%d %H:%M:%S.%f")) for id_, moment in enumerate(MOMENTS)],
        )
    orders = sql_table(
        credentials=f"sqlite:///{tmp_path / 'orders.sqlite'}",
        table="orders",
        incremental=incremental("at", last_value_func=min),
    )

    @dlt.source(name="one")
    def one() -> Any:
        return orders

    shop.run(shop.assets(one(), partitions_def=DAILY), partition_key="2024-01-03")
    assert shop.rows("SELECT id FROM ds.orders ORDER BY id") == OF_THE_THIRD
