"""A window in any zone takes its rows from any column of a database, reflected early or late."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dlt
import psycopg
import pytest
import sqlalchemy as sa
from dlt.sources.sql_database import sql_table

from loadsmith.engine.sources import bound_to_window, make_source
from loadsmith.model import RunRequest, SourceReference, Window

UTC = timezone.utc
NEW_YORK = ZoneInfo("America/New_York")
#: The day on which the clocks are set back.
WINDOW = Window(
    start=datetime(2024, 11, 3, tzinfo=NEW_YORK), end=datetime(2024, 11, 4, tzinfo=NEW_YORK)
)
FIRST = datetime(2024, 11, 2, 12, tzinfo=UTC)
MOMENTS = [FIRST + timedelta(hours=hours) for hours in range(72)]


def local(moment: datetime) -> datetime:
    return moment.astimezone(NEW_YORK).replace(tzinfo=None)


#: A column's type, a moment as a value of it, and the zone of such values.
COLUMNS: dict[str, tuple[Any, Callable[[datetime], Any], str | None]] = {
    "local": (sa.DateTime(), local, "partition"),
    "in_utc": (sa.DateTime(), lambda moment: moment.replace(tzinfo=None), "UTC"),
    "zoned": (sa.DateTime(timezone=True), lambda moment: moment, "partition"),
    "day": (sa.Date(), lambda moment: local(moment).date(), "partition"),
    "text": (sa.String(30), lambda moment: f"{local(moment):%Y-%m-%d %H:%M:%S}", "partition"),
    "seconds": (sa.BigInteger(), lambda moment: int(moment.timestamp()), None),
    "milliseconds": (sa.BigInteger(), lambda moment: int(moment.timestamp() * 1000), None),
}


@pytest.fixture(params=["postgres", "mariadb", "sqlite"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with a table for each column that it can have."""
    names = set(COLUMNS)
    if request.param == "postgres":
        url = request.getfixturevalue("database").replace("://", "+psycopg2://", 1)
        with psycopg.connect(request.getfixturevalue("database"), autocommit=True) as connection:
            database = url.rpartition("/")[2]
            connection.execute(f"ALTER DATABASE {database} SET timezone TO 'Asia/Tokyo'")
    else:
        # They have no type with a zone.
        names.remove("zoned")
        url = (
            request.getfixturevalue("mariadb")[0]
            if request.param == "mariadb"
            else f"sqlite:///{tmp_path / 'source.db'}"
        )
    metadata, engine = sa.MetaData(), sa.create_engine(url)
    for name in names:
        kind, convert, _ = COLUMNS[name]
        table = sa.Table(name, metadata, sa.Column("id", sa.Integer()), sa.Column("at", kind))
        with engine.begin() as connection:
            table.create(connection)
            rows = [{"id": n, "at": convert(moment)} for n, moment in enumerate(MOMENTS)]
            connection.execute(table.insert(), rows)
    engine.dispose()
    return url


def expected(name: str) -> list[int]:
    """Return the rows of the window; the repeated hour belongs to its first occurrence."""
    if name == "day":
        return [n for n, moment in enumerate(MOMENTS) if local(moment).day == 3]
    return [n for n, moment in enumerate(MOMENTS) if WINDOW.start <= moment < WINDOW.end]


def ids_of(source: Any, zone: str | None) -> list[int]:
    warnings: list[str] = []
    request = RunRequest(window=WINDOW, warn=warnings.append)
    made = make_source(source, request)
    [name] = made.resources
    ids: list[int] = []
    with bound_to_window(made, [name], request, lambda _name: zone):
        for page in made.resources[name]:
            # A row, an Arrow table or a data frame.
            found = page["id"]
            ids.extend([found] if isinstance(found, int) else map(int, found.to_numpy()))
    assert warnings == []
    return sorted(ids)


@pytest.mark.parametrize("is_late", [False, True], ids=["reflected", "deferred"])
def test_a_window_takes_its_rows_from_any_column(address: str, is_late: bool) -> None:
    engine = sa.create_engine(address)
    names = sorted(sa.inspect(engine).get_table_names())
    engine.dispose()
    for name, backend in product(names, (None, "pyarrow", "pandas", "declared")):
        params: dict[str, Any] = {
            "credentials": address,
            "table": name,
            "defer_table_reflect": is_late,
            "incremental": dlt.sources.incremental("at"),
        }
        if backend == "declared":
            source: Any = SourceReference(module="sql_database.sql_table", params=params)
        else:
            source = partial(sql_table, **params, **({"backend": backend} if backend else {}))
        assert ids_of(source, COLUMNS[name][2]) == expected(name), (name, backend)
        if name in ("local", "in_utc"):
            # Nobody says which zone the times are in.
            with pytest.raises(Exception, match="Set cursor_timezone"):
                ids_of(source, None)
