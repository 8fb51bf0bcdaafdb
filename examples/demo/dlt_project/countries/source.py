"""One JSON document per country in, one resource with many nested tables out."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dlt


@dlt.source(name="countryinfo")
def countryinfo() -> Any:
    """Read the records that the package ships as files; nothing goes over the network."""
    return countries


@dlt.resource(
    primary_key="name",
    columns={
        "name": {"data_type": "text", "description": "English name of the country"},
        # Most records have a whole number here, a few a fraction.
        "area": {"data_type": "double", "description": "Area in square kilometres"},
        "population": {"data_type": "bigint", "description": "Number of people"},
    },
)
def countries() -> Iterator[list[dict[str, Any]]]:
    """All countries: names, borders, languages, time zones and outlines."""
    records = [_read_country(path) for path in _country_files()]
    # The package has one country in two files, and in older releases files without a name.
    yield list({record["name"]: record for record in records if record.get("name")}.values())


def _read_country(path: Path) -> dict[str, Any]:
    country: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    # One record lists its capital, all others name it; some coordinates have no fraction.
    if isinstance(country.get("capital"), list):
        country["capital"] = country["capital"][0]
    if "latlng" in country:
        country["latlng"] = [float(degrees) for degrees in country["latlng"]]
    return {key: value for key, value in country.items() if value is not None}


def _country_files() -> list[Path]:
    # Found without importing the package, whose newest release asks for Python 3.11.
    spec = find_spec("countryinfo")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "The demo reads its data from the package 'countryinfo'. Install the group 'demo'."
        )
    return sorted((Path(spec.origin).parent / "data").glob("*.json"))
