"""Slices of any source, loaded in any order, leave the rows that the definition promises."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import dlt
import duckdb
from dlt.sources import incremental
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from loadsmith.engine.run import run_load
from loadsmith.errors import ResolveError
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunOptions,
    RunRequest,
    Window,
)

DAYS = 4
KEYS = ("eu", "us", "New York", "a/b")

#: How the time of a row is written.
CURSORS: dict[str, Callable[[datetime], Any]] = {
    "seconds": lambda m: int(m.timestamp()),
    "milliseconds": lambda m: int(m.timestamp()) * 1000,
    "aware": lambda m: m,
    "naive": lambda m: m.replace(tzinfo=None),
    "text": lambda m: m.replace(tzinfo=None).isoformat(),
    "day": lambda m: m.date() if isinstance(m, datetime) else date.min,
}


@dataclass(frozen=True)
class Branch:
    """A feed with a cursor, how it is called, and how many transformers hang from it."""

    cursor: str
    is_called: bool
    is_listed: bool
    fed: int

    def names(self, number: int) -> list[str]:
        return [
            *([f"p{number}"] if self.is_listed or not self.fed else []),
            *(f"t{number}_{one}" for one in range(self.fed)),
        ]


BRANCHES = st.lists(
    st.builds(
        Branch,
        cursor=st.sampled_from(list(CURSORS)),
        is_called=st.booleans(),
        is_listed=st.booleans(),
        fed=st.integers(0, 2),
    ),
    min_size=1,
    max_size=3,
)
ZONES = st.sampled_from(["UTC", "America/New_York", "Europe/Berlin"])
#: The first day and the number of days of a window, and which resources.
WINDOWS = st.lists(
    st.tuples(st.integers(0, DAYS - 1), st.integers(1, 2), st.integers(0, 2)),
    min_size=1,
    max_size=4,
)


def moments(zone: str) -> list[datetime]:
    first = datetime(2024, 3, 9, tzinfo=ZoneInfo(zone))
    return [
        (first + timedelta(days=day)).replace(hour=hour, minute=minute)
        for day in range(DAYS)
        for hour, minute in ((0, 0), (12, 0), (23, 59))
    ]


def make_source(branches: list[Branch], zone: str, rows: int, disposition: str) -> Any:
    hints: Any = {"primary_key": "id", "write_disposition": disposition}

    def branch(number: int, asked: Branch) -> list[Any]:
        convert = CURSORS[asked.cursor]

        def feed(key: str = "k", at: Any = incremental("at")) -> Any:
            yield [{"id": n, "at": convert(m)} for n, m in enumerate(moments(zone))][:rows]

        def fed(page: Any) -> Any:
            yield [{"id": row["id"]} for row in page]

        root = dlt.resource(feed, name=f"p{number}", **hints)
        root = root("x") if asked.is_called else root
        found = [
            dlt.transformer(fed, name=name, data_from=root, **hints)
            for name in asked.names(number)
            if name.startswith("t")
        ]
        return [root, *found] if asked.is_listed or not asked.fed else found

    @dlt.source(name="s")
    def source() -> Any:
        return [one for number, asked in enumerate(branches) for one in branch(number, asked)]

    return source()


class Load:
    def __init__(self, folder: str, make: Callable[[], Any], **options: Any) -> None:
        self.database = Path(folder, "x.duckdb")
        self.definition = LoadDefinition(
            name="l",
            source=make,
            pipeline=PipelineSettings(
                pipeline_name="p", dataset_name="raw", pipelines_dir=str(Path(folder, "p"))
            ),
            destination=DestinationReference(
                name="duckdb", params={"database": str(self.database)}
            ),
            options=RunOptions(**options),
        )

    def run(self, **request: Any) -> None:
        with run_load(self.definition, RunRequest(**request)) as result:
            assert not result.failures

    def ids(self, names: list[str]) -> dict[str, list[int]]:
        found = {}
        with duckdb.connect(str(self.database)) as connection:
            known = {
                name
                for (name,) in connection.execute(
                    "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'raw'"
                ).fetchall()
            }
            for name in names:
                sql = f"SELECT id FROM raw.{name} ORDER BY id"
                found[name] = (
                    [row for (row,) in connection.execute(sql).fetchall()] if name in known else []
                )
        return found


def names_of(branches: list[Branch]) -> list[str]:
    return [name for number, asked in enumerate(branches) for name in asked.names(number)]


# `make test-long` tries more of them.
slow = settings(
    max_examples=int(os.environ.get("LOADSMITH_EXAMPLES", "5")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    phases=[Phase.generate],
)


@slow
@given(
    BRANCHES,
    ZONES,
    WINDOWS,
    st.sampled_from(["fail", "keep"]),
    st.sampled_from(["append", "replace", "merge"]),
)
def test_windows_in_any_order_hold_their_rows(
    branches: list[Branch],
    zone: str,
    windows: list[tuple[int, int, int]],
    on_error: str,
    disposition: str,
):
    names = names_of(branches)
    everything = moments(zone)
    expected: dict[str, set[int]] = {name: set() for name in names}
    with TemporaryDirectory() as folder:
        load = Load(
            folder,
            lambda: make_source(branches, zone, len(everything), disposition),
            on_error=on_error,
            cursor_timezone="partition",
        )
        # The first one is loaded twice, whatever came between.
        for first, count, which in (*windows, windows[0]):
            start = everything[0] + timedelta(days=first)
            window = Window(start=start, end=start + timedelta(days=count))
            wanted = names if which == 0 else names[:which]
            keys = tuple(f"{start + timedelta(days=day):%Y-%m-%d}" for day in range(count))
            try:
                load.run(
                    window=window,
                    partition_keys=keys,
                    partition_key=keys[0] if count == 1 else None,
                    resources=None if which == 0 else tuple(wanted),
                )
            except ResolveError as error:
                # A part of what came in as a range, where SQL cannot tell it from the rest.
                assert "cannot be told from the others" in str(error)  # noqa: PT017
                assert disposition != "merge"
                continue
            for name in wanted:
                expected[name] |= {
                    number
                    for number, moment in enumerate(everything)
                    if window.start <= moment < window.end
                }
        assert load.ids(names) == {name: sorted(ids) for name, ids in expected.items()}


@slow
@given(
    BRANCHES,
    st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 12)), min_size=2, max_size=5),
    st.sampled_from(["fail", "keep"]),
)
def test_keys_in_any_order_go_on_from_a_cursor_each(
    branches: list[Branch], loads: list[tuple[str, int]], on_error: str
):
    names = names_of(branches)
    seen: dict[str, int] = {}
    grown = 0
    with TemporaryDirectory() as folder:
        load = Load(
            folder,
            lambda: make_source(branches, "UTC", grown, "append"),
            on_error=on_error,
        )
        for key, rows in loads:
            # A source grows, and each partition has seen what was there when it was loaded last.
            grown = max(seen.get(key, 0), rows)
            load.run(partition_key=key)
            seen[key] = grown
        # A cursor of days has all rows of its last day: dlt tells them apart by their key.
        expected = sorted(number for rows in seen.values() for number in range(rows))
        assert load.ids(names) == dict.fromkeys(names, expected)
