"""Cursors of every type, in resources of every shape, take exactly the window of a run."""

# dlt reads the cursor of a resource from a default argument and its annotation.

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dlt
import duckdb
import pendulum
import pyarrow as pa
import pytest
from dlt.sources import incremental

from loadsmith.engine.run import run_load
from loadsmith.engine.sources import bound_to_window, select_resources
from loadsmith.errors import ConfigError
from loadsmith.model import (
    DestinationReference,
    LoadDefinition,
    PipelineSettings,
    RunOptions,
    RunRequest,
    Window,
)

UTC = timezone.utc
NEW_YORK = ZoneInfo("America/New_York")
FIRST = datetime(2023, 1, 1, tzinfo=UTC)


class Daily(incremental[datetime]):
    """A cursor of a class of its own."""


def unix(unit: int) -> Callable[[datetime], int]:
    return lambda moment: int(moment.timestamp()) * unit


def local(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def text(form: str) -> Callable[[datetime], str]:
    return lambda moment: moment.strftime(form)


def utc_text(form: str) -> Callable[[datetime], str]:
    return lambda moment: moment.astimezone(UTC).strftime(form)


#: How a moment, in the zone of the partitions, is written; the cursor; whether it has no zone.
CURSORS: dict[str, tuple[Callable[[datetime], Any], Any, bool]] = {
    "aware": (lambda m: m, incremental("at", initial_value=FIRST), False),
    "aware_open": (lambda m: m, incremental("at"), False),
    "own_class": (lambda m: m, Daily("at"), False),
    "from_pendulum": (pendulum.instance, incremental[pendulum.DateTime]("at"), False),
    "seconds": (unix(1), incremental[int]("at", initial_value=0), False),
    "seconds_open": (unix(1), incremental("at"), False),
    "milliseconds": (unix(10**3), incremental("at", initial_value=unix(10**3)(FIRST)), False),
    "microseconds": (unix(10**6), incremental("at"), False),
    "nanoseconds": (unix(10**9), incremental("at", initial_value=unix(10**9)(FIRST)), False),
    "text_z": (
        utc_text("%Y-%m-%dT%H:%M:%SZ"),
        incremental("at", initial_value="2023-01-01T00:00:00Z"),
        False,
    ),
    "text_offset": (datetime.isoformat, incremental("at"), False),
    "naive": (local, incremental("at", initial_value=local(FIRST)), True),
    "naive_open": (local, incremental("at"), True),
    "text_naive": (
        text("%Y-%m-%dT%H:%M:%S"),
        incremental("at", initial_value="2023-01-01T00:00:00"),
        True,
    ),
    "text_space": (
        text("%Y-%m-%d %H:%M:%S"),
        incremental("at", initial_value="2023-01-01 00:00:00"),
        True,
    ),
}
#: Cursors that know days only.
DAYS: dict[str, tuple[Callable[[datetime], Any], Any, bool]] = {
    "day": (datetime.date, incremental("at", initial_value=date(2023, 1, 1)), True),
    "day_open": (datetime.date, incremental("at"), True),
    "day_number": (lambda m: int(m.strftime("%Y%m%d")), incremental("at", 20230101), True),
    "text_day": (text("%Y-%m-%d"), incremental("at", initial_value="2023-01-01"), True),
}
ARROW = {
    f"arrow_{unit}{'_tz' if zone else ''}": (pa.timestamp(unit, tz=zone), zone is None)
    for unit in ("s", "ms", "us", "ns")
    for zone in (None, "UTC")
}


def plain(name: str, rows: Any, cursor: Any) -> Iterable[Any]:
    def resource(at: Any = cursor) -> Any:
        yield rows

    return [dlt.resource(resource, name=name)]


def optional(name: str, rows: Any, cursor: Any) -> Iterable[Any]:
    def resource(at: incremental[Any] | None = cursor) -> Any:
        yield rows

    return [dlt.resource(resource, name=name)]


def optional_any(name: str, rows: Any, cursor: Any) -> Iterable[Any]:
    def resource(at: Any | None = cursor) -> Any:
        yield rows

    return [dlt.resource(resource, name=name)]


def called(name: str, rows: Any, cursor: Any) -> Iterable[Any]:
    def resource(repository: str, at: Any = cursor) -> Any:
        yield rows

    return [dlt.resource(resource, name=name)("a")]


def renamed(name: str, rows: Any, cursor: Any) -> Iterable[Any]:
    def resource(repository: str, at: Any = incremental("at")) -> Any:
        yield rows

    return [dlt.resource(resource, name="x")("a", cursor).with_name(name)]


def parallel(name: str, rows: Any, cursor: Any) -> Iterable[Any]:
    def resource(at: Any = cursor) -> Any:
        yield rows

    return [dlt.resource(resource, name=name, parallelized=True)]


def piped(name: str, rows: Any, cursor: Any) -> Iterable[Any]:
    def feed(repository: str = "a", at: Any = cursor) -> Any:
        yield rows

    def through(page: Any) -> Any:
        yield page

    return [dlt.resource(feed, name=f"{name}_feed")("b") | dlt.transformer(through, name=name)]


def hinted(name: str, rows: Any, cursor: Any) -> Iterable[Any]:
    return [dlt.resource(lambda: iter([rows]), name=name, incremental=cursor)]


#: One cursor of each kind of comparison, for every shape.
CROSSED = ("aware", "milliseconds", "text_z", "naive_open", "text_space", "day")

SHAPES = {
    shape.__name__: shape
    for shape in (plain, optional, optional_any, called, renamed, parallel, piped, hinted)
}


def make_source(moments: list[datetime], *, days: bool = True) -> Any:
    """A source with each cursor in each shape; its rows have the number of their moment."""

    @dlt.source(name="w")
    def source() -> Any:
        found: list[Any] = []
        for kind, (convert, cursor, _) in {**CURSORS, **(DAYS if days else {})}.items():
            rows = [{"id": number, "at": convert(m)} for number, m in enumerate(moments)]
            for shape, make in SHAPES.items():
                if shape == "plain" or kind in CROSSED:
                    found.extend(make(f"{kind}__{shape}", rows, cursor.copy()))
        for kind, (column, is_naive) in ARROW.items():
            values = [local(m) if is_naive else m.astimezone(UTC) for m in moments]
            at = pa.array(values, pa.timestamp("us", tz=column.tz)).cast(column)
            table = pa.table({"id": range(len(moments)), "at": at})
            shapes = ("plain", "called", "piped") if kind == "arrow_ns" else ("plain",)
            for shape in shapes:
                found.extend(SHAPES[shape](f"{kind}__{shape}", table, incremental("at")))
            found.extend(plain(f"{kind}__batch", table.to_batches()[0], incremental("at")))
        return found

    return source()


def ids_in(
    source: Any, window: Window, zone: str | None = None, *, shapes: str = ""
) -> dict[str, list[int]]:
    """Read a source in a window, as a run extracts it; no warning is expected."""
    warnings: list[str] = []
    request = RunRequest(window=window, warn=warnings.append)
    found: dict[str, list[int]] = {}
    names = [name for name in source.resources if name.endswith(shapes)]
    with bound_to_window(source, names, request, lambda _name: zone):
        for name in names:
            ids = found.setdefault(name, [])
            for item in source.resources[name]:
                tables = isinstance(item, pa.Table | pa.RecordBatch)
                ids.extend(item["id"].to_pylist() if tables else [item["id"]])
    assert warnings == []
    return found


@pytest.mark.parametrize("zone", [UTC, NEW_YORK, ZoneInfo("Europe/Berlin")], ids=str)
def test_a_day_is_exact_whatever_the_cursor_and_the_shape(zone: Any):
    moments = [
        datetime(2024, 1, day, hour, minute, tzinfo=zone)
        for day in (1, 2, 3)
        for hour, minute in ((0, 0), (12, 30), (23, 59))
    ]
    source = make_source(moments)
    for first, last, expected in ((2, 3, [3, 4, 5]), (1, 3, list(range(6)))):
        window = Window(
            start=datetime(2024, 1, first, tzinfo=zone), end=datetime(2024, 1, last, tzinfo=zone)
        )
        found = ids_in(source, window, None if zone is UTC else "partition")
        assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize("day", [(2024, 3, 10), (2024, 11, 3)], ids=["forward", "back"])
@pytest.mark.parametrize("hours", [1, 24], ids=["hourly", "daily"])
def test_each_row_is_in_one_window_where_the_clocks_change(day: tuple[int, ...], hours: int):
    start = datetime(*day, tzinfo=NEW_YORK)
    moments = [
        wall.replace(tzinfo=NEW_YORK)
        for minutes in range(0, 5 * 60, 30)
        if (wall := datetime(*day) + timedelta(minutes=minutes))
        .replace(tzinfo=NEW_YORK)
        # An hour that the clocks leave out is no time.
        .astimezone(UTC)
        .astimezone(NEW_YORK)
        .replace(tzinfo=None)
        == wall
    ]
    source = make_source(moments, days=False)
    seen: dict[str, list[int]] = {}
    edge, end = start.astimezone(UTC), (start + timedelta(hours=5)).astimezone(UTC)
    while edge < end:
        later = min(edge + timedelta(hours=hours if hours == 1 else 48), end)
        window = Window(start=edge.astimezone(NEW_YORK), end=later.astimezone(NEW_YORK))
        for name, ids in ids_in(source, window, "partition", shapes="__plain").items():
            seen.setdefault(name, []).extend(ids)
        edge = later
    assert seen == {name: list(range(len(moments))) for name in seen}


def test_a_day_that_begins_at_one_is_in_its_own_partition():
    zone = ZoneInfo("America/Santiago")
    days = [date(2024, 9, day) for day in (7, 8, 9)]
    starts = [datetime(day.year, day.month, day.day, tzinfo=zone) for day in days]
    for number, (start, end) in enumerate(pairwise(starts)):
        window = Window(start=start.astimezone(UTC).astimezone(zone), end=end)
        for kind in ("date", "text"):

            @dlt.source(name="days")
            def source(kind: str = kind) -> Any:
                @dlt.resource(name="t")
                def rows(at: Any = incremental("at")) -> Any:
                    for n, day in enumerate(days):
                        yield {"id": n, "at": day if kind == "date" else day.isoformat()}

                return rows

            assert ids_in(source(), window, "partition") == {"t": [number]}, (kind, window)


@pytest.mark.parametrize("ends", ["closed", "open"])
def test_a_window_has_its_begin_and_not_its_end_whatever_the_source_says(ends: Any):
    moments = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]

    @dlt.source(name="s")
    def source() -> Any:
        cursor = incremental("at", range_start=ends, range_end=ends)

        @dlt.resource(name="t")
        def rows(at: Any = cursor) -> Any:
            yield [{"id": n, "at": moment} for n, moment in enumerate(moments)]

        return rows

    window = Window(start=moments[1], end=moments[2])
    assert ids_in(source(), window) == {"t": [1]}


def test_a_zone_for_a_resource_that_is_not_there_is_refused(tmp_path: Path):
    definition = LoadDefinition(
        name="l",
        source=lambda: make_source([FIRST], days=False),
        pipeline=lambda: dlt.pipeline("p", pipelines_dir=str(tmp_path)),
        destination=None,
        options=RunOptions(cursor_timezone={"awrae__plain": "UTC"}),
    )
    with pytest.raises(ConfigError, match="Did you mean 'aware__plain'"):
        select_resources(definition, RunRequest())


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_cursor_in_another_zone_than_the_partitions_is_exact(zone: str):
    its = UTC if zone == "UTC" else ZoneInfo(zone)
    moments = [
        datetime(2024, 1, 1, tzinfo=NEW_YORK) + timedelta(hours=hour) for hour in range(-12, 36)
    ]
    window = Window(
        start=datetime(2024, 1, 1, tzinfo=NEW_YORK), end=datetime(2024, 1, 2, tzinfo=NEW_YORK)
    )
    source = make_source([moment.astimezone(its) for moment in moments], days=False)
    found = ids_in(source, window, zone)
    assert found == {name: list(range(12, 36)) for name in found}


@pytest.mark.parametrize(
    "kind", [kind for kind, (_, _, is_naive) in {**CURSORS, **DAYS}.items() if is_naive]
)
def test_a_cursor_without_a_zone_is_refused_in_another_zone(kind: str, tmp_path: Path):
    moments = [datetime(2024, 1, 1, 12, tzinfo=NEW_YORK)]
    read: list[str] = []

    def source() -> Any:
        convert, cursor, _ = {**CURSORS, **DAYS}[kind]

        @dlt.resource(name="t")
        def rows(at: Any = cursor) -> Any:
            read.append(kind)
            yield [{"id": number, "at": convert(m)} for number, m in enumerate(moments)]

        return rows

    def load(**options: Any) -> int | None:
        definition = LoadDefinition(
            name="l",
            source=source,
            pipeline=lambda: dlt.pipeline(
                "p",
                destination=dlt.destinations.duckdb(str(tmp_path / "x.duckdb")),
                dataset_name="ds",
                pipelines_dir=str(tmp_path / "pipelines"),
            ),
            options=RunOptions(**options),
        )
        day = datetime(2024, 1, 1, tzinfo=NEW_YORK)
        window = Window(start=day, end=day + timedelta(days=1))
        with run_load(definition, RunRequest(window=window, partition_key="k")) as result:
            return result.rows_loaded

    with pytest.raises(ConfigError, match="Set cursor_timezone of the load: 'partition'"):
        load()
    if "open" not in kind:
        # What a source declares is known before anything is read.
        assert read == []
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        assert (
            connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 't'").fetchall()
            == []
        )
    assert load(cursor_timezone={"t": "partition"}) == 1


def test_a_zone_that_does_not_exist_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'Europe/Berlin'"):
        RunOptions(cursor_timezone="Europe/Berln")
    with pytest.raises(ConfigError, match="no time zone"):
        RunOptions(cursor_timezone={"t": "nowhere"})


def test_a_source_sees_the_type_that_its_annotation_promises():
    seen: list[Any] = []

    @dlt.resource(name="t")
    def rows(at: incremental[pendulum.DateTime] = incremental("at")) -> Any:
        seen.extend((at.start_value, at.last_value, at.end_value))
        yield {"id": 0, "at": pendulum.datetime(2024, 1, 1)}

    @dlt.source(name="s")
    def source() -> Any:
        return rows

    window = Window(start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 2, tzinfo=UTC))
    assert ids_in(source(), window) == {"t": [0]}
    assert [value.format("YYYY-MM-DD") for value in seen] == ["2024-01-01"] * 2 + ["2024-01-02"]


def test_a_cursor_that_may_be_anything_moves_from_run_to_run(tmp_path: Path):
    # dlt itself fails with IndexError: the sources of freshdesk, workable and stripe.
    for kind, cursor in {
        "any": Any | None,
        "number": int | None,
    }.items():

        def rows(at: cursor = incremental("at", initial_value=2)) -> Any:  # type: ignore[valid-type]
            yield [{"at": number} for number in range(4)]

        definition = LoadDefinition(
            name=kind,
            source=lambda rows=rows: dlt.resource(rows, name="rows"),
            destination=DestinationReference(name="duckdb", params={"database": f"{tmp_path}/d"}),
            pipeline=PipelineSettings(
                pipeline_name=kind, dataset_name=kind, pipelines_dir=str(tmp_path)
            ),
        )
        for expected in (2, 0):
            with run_load(definition, RunRequest(run_id=str(expected))) as result:
                assert sum(table.rows_loaded or 0 for table in result.tables) == expected
