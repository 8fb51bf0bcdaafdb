"""Awkward dlt sources, small enough to read.

Use them to test a destination, a translator or a front door of your own:

    from loadsmith.testing.sources import nested
    source = nested()

They need neither network nor secrets, and yield the same rows each time they are made, unless
their docstring says otherwise.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import dlt
from dlt.common.wei import Wei

START = datetime(2024, 1, 1, tzinfo=timezone.utc)

# Names in several scripts, one that SQL reserves and one that needs quotes.
UNICODE_NAMES = ("größe", "名前", "имя", "اسم", "select", "a b")


class MidwayError(RuntimeError):
    """What `failing_midway` raises."""


@dlt.source
def nested(orders: int = 3) -> Any:
    """Two resources whose names share a beginning; `orders` has lists of lists and of numbers."""

    @dlt.resource(name="orders", primary_key="id")
    def orders_resource() -> Iterator[Any]:
        """Orders of a shop."""
        for number in range(1, orders + 1):
            yield {
                "id": number,
                "customer": {"name": f"Customer {number}", "city": "Zürich"},
                "items": [
                    {"sku": f"s{number}-{item}", "tags": ["new", "red"][: item + 1]}
                    for item in range(2)
                ],
                "codes": [number, number * 10],
            }

    @dlt.resource(primary_key="id")
    def orders_archive() -> Iterator[Any]:
        """Orders of other years: a sibling, not a nested table of `orders`."""
        yield {"id": 900, "lines": [{"sku": "old"}]}

    return orders_resource, orders_archive


@dlt.source
def transforming() -> Any:
    """A resource, and a transformer that makes two rows of each of its rows."""

    @dlt.resource
    def users() -> Iterator[Any]:
        yield [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Grace"}]

    @dlt.transformer(data_from=users)
    def user_events(page: Sequence[dict[str, Any]]) -> Iterator[Any]:
        for user in page:
            yield [{"user_id": user["id"], "kind": kind} for kind in ("login", "logout")]

    return users, user_events


@dlt.source
def empty() -> Any:
    """A resource without a row, beside one that has one."""

    @dlt.resource
    def nothing() -> Iterator[Any]:
        yield from ()

    @dlt.resource
    def something() -> Iterator[Any]:
        yield {"id": 1}

    return nothing, something


@dlt.source
def chosen_per_row() -> Any:
    """One resource whose rows choose their table: `event_click` and `event_view`."""

    @dlt.resource(table_name=lambda row: f"event_{row['kind']}")
    def events() -> Iterator[Any]:
        yield [
            {"id": 1, "kind": "click", "at": [{"x": 1}]},
            {"id": 2, "kind": "view"},
            {"id": 3, "kind": "click"},
        ]

    return events


def exhausted_after_one_run() -> Any:
    """A source over a generator object, which gives its rows once; the second run has none."""

    def rows() -> Iterator[Any]:
        yield [{"id": 1}, {"id": 2}]

    @dlt.source(name="exhausted")
    def source() -> Any:
        return dlt.resource(rows(), name="once")

    return source()


@dlt.source
def merging(changed: bool = False) -> Any:
    """A merge by key; with `changed`, one row is another and one is added."""

    @dlt.resource(primary_key="id", write_disposition="merge")
    def accounts() -> Iterator[Any]:
        yield {"id": 1, "balance": 10, "notes": [{"text": "first"}]}
        yield {"id": 2, "balance": 99 if changed else 20, "notes": [{"text": "second"}]}
        if changed:
            yield {"id": 3, "balance": 30, "notes": []}

    return accounts


@dlt.source
def double_underscore() -> Any:
    """A resource with `__` in its name, which looks like a nested table but is not."""

    @dlt.resource
    def my__tbl() -> Iterator[Any]:
        yield {"id": 1, "parts": [{"n": 1}]}

    @dlt.resource
    def my() -> Iterator[Any]:
        yield {"id": 1}

    return my__tbl, my


@dlt.source
def failing_midway(fails: Callable[[], bool] = lambda: True, rows: int = 10, after: int = 5) -> Any:
    """A resource that raises `MidwayError` after some rows, beside one that is fine.

    Args:
        fails: Tells whether to fail; a test gives one that says no the second time.
        rows: Rows of the resource when it does not fail.
        after: Rows, one a page, before it fails.
    """

    @dlt.resource
    def fine() -> Iterator[Any]:
        yield [{"id": number} for number in range(3)]

    @dlt.resource
    def breaking() -> Iterator[Any]:
        for number in range(rows):
            if number == after and fails():
                raise MidwayError(f"no more after {after} rows")
            yield {"id": number, "items": [{"n": number}]}

    return fine, breaking


@dlt.source
def regional(region: str = "eu") -> Any:
    """A source to load twice, as `eu` and as `us`: same resources, other rows."""

    @dlt.resource(primary_key="id")
    def sales() -> Iterator[Any]:
        yield [{"id": f"{region}-{number}", "region": region} for number in range(2)]

    return sales


@dlt.source
def changing_types() -> Any:
    """A column that begins with numbers and goes on with text: dlt adds a column for the text."""

    @dlt.resource
    def readings() -> Iterator[Any]:
        yield {"id": 1, "value": 10}
        yield {"id": 2, "value": "n/a", "unit": "K"}
        yield {"id": 3, "value": 12.5}

    return readings


@dlt.source
def unicode_names() -> Any:
    """Columns and a resource named in several scripts, and values in them."""

    @dlt.resource(name="größen_名前")
    def sizes() -> Iterator[Any]:
        yield {name: f"{name} ✓" for name in UNICODE_NAMES}

    return sizes


@dlt.source
def awkward_types() -> Any:
    """One column of each type whose value a file format may change, and a row of nothing."""

    @dlt.resource(
        columns={
            "amount": {"data_type": "decimal", "precision": 38, "scale": 9},
            "wei": {"data_type": "wei"},
            "at": {"data_type": "timestamp", "timezone": True},
            "local_at": {"data_type": "timestamp", "timezone": False},
            "day": {"data_type": "date"},
            "hour": {"data_type": "time"},
            "raw": {"data_type": "binary"},
            "tree": {"data_type": "json"},
            "big": {"data_type": "bigint"},
            "ratio": {"data_type": "double"},
            "flag": {"data_type": "bool"},
            "name": {"data_type": "text"},
        }
    )
    def values() -> Iterator[Any]:
        yield {
            "id": 1,
            "amount": Decimal("12345678901234567890.123456789"),
            "wei": Wei(10**37 + 1),
            "at": datetime(2024, 3, 31, 2, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5.5))),
            "local_at": datetime(2024, 3, 31, 2, 30, 15, 123456),
            "day": date(1969, 12, 31),
            "hour": time(23, 59, 59, 999999),
            "raw": b"\x00\xff'\\\n",
            "tree": {"a": [1, None, {"b": "'\"\\\n"}], "ü": True},
            "big": 2**63 - 1,
            "ratio": 0.1 + 0.2,
            "flag": True,
            "name": 'O\'Brien \\ "x"\n\t,;| ✓ 🎉',
        }
        yield {
            "id": 2,
            "amount": Decimal("-0.000000001"),
            "wei": Wei(-1),
            "at": datetime(1970, 1, 1, tzinfo=timezone.utc),
            "local_at": datetime(1900, 1, 1),
            "day": date(9999, 12, 31),
            "hour": time(0, 0),
            "raw": b"\x00",
            "tree": [],
            "big": -(2**63),
            "ratio": -1e300,
            "flag": False,
            "name": "",
        }
        yield {"id": 3}

    return values


@dlt.source
def incremental_cursors(days: int = 10) -> Any:
    """A resource for each kind of cursor, one row for each of so many days from 2024-01-01."""

    def at(day: int) -> datetime:
        return START + timedelta(days=day)

    @dlt.resource(write_disposition="append")
    def by_datetime(
        cursor: dlt.sources.incremental[datetime] = dlt.sources.incremental("at"),
    ) -> Iterator[Any]:
        """Cursor with a time and a zone."""
        yield [{"id": day, "at": at(day)} for day in range(days)]

    @dlt.resource(write_disposition="append")
    def by_date(
        cursor: dlt.sources.incremental[date] = dlt.sources.incremental("day"),
    ) -> Iterator[Any]:
        """Cursor with a date."""
        yield [{"id": day, "day": at(day).date()} for day in range(days)]

    @dlt.resource(write_disposition="append")
    def by_text(
        cursor: dlt.sources.incremental[str] = dlt.sources.incremental("at"),
    ) -> Iterator[Any]:
        """Cursor with ISO text."""
        yield [{"id": day, "at": at(day).isoformat()} for day in range(days)]

    @dlt.resource(write_disposition="append")
    def by_number(
        cursor: dlt.sources.incremental[int] = dlt.sources.incremental("at"),
    ) -> Iterator[Any]:
        """Cursor with seconds since 1970."""
        yield [{"id": day, "at": int(at(day).timestamp())} for day in range(days)]

    @dlt.resource(write_disposition="merge", primary_key="id")
    def without_cursor() -> Iterator[Any]:
        """No cursor: a window cannot bound it."""
        yield [{"id": day, "at": at(day)} for day in range(days)]

    return by_datetime, by_date, by_text, by_number, without_cursor


@dlt.source
def many_resources(count: int = 200, rows: int = 10) -> Any:
    """Many resources with a few rows each, to measure the cost of a resource."""
    for number in range(count):
        yield dlt.resource(
            [{"id": row, "value": f"v{row}"} for row in range(rows)], name=f"r{number:04}"
        )


@dlt.source
def random_rows(rows: int = 1000, pages: int = 10, seed: int = 0) -> Any:
    """Appended rows with a nested list, in pages; each `id` is there once: count them after."""

    @dlt.resource(write_disposition="append")
    def facts() -> Iterator[Any]:
        dice = random.Random(seed)  # noqa: S311 - rows, no secrets
        size = max(rows // pages, 1)
        for begin in range(0, rows, size):
            yield [
                {
                    "id": number,
                    "value": dice.random(),
                    "tags": [{"tag": dice.choice("abc")} for _ in range(dice.randrange(3))],
                }
                for number in range(begin, min(begin + size, rows))
            ]

    return facts


@dlt.source
def secretive(api_token: str = dlt.secrets.value) -> Any:
    """A source that needs a secret; its row holds only the length."""

    @dlt.resource
    def lengths() -> Iterator[Any]:
        yield {"length": len(api_token)}

    return lengths
