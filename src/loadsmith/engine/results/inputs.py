"""Tell where resources have read from, and where their tables are, as dlt's trace says it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadsmith.engine.secrets import Redactor
from loadsmith.model import Feeds, InputSnapshot, RunRequest

#: Fields in which dlt's sources name what they read inside of a location.
_NAMES = ("tables", "endpoints", "files", "glob")

_DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}

_DEFAULT_SCHEMAS = {"postgresql": "public", "sqlite": "main", "duckdb": "main"}


@dataclass(frozen=True, kw_only=True)
class Origins:
    """Where the rows of a run come from, and where they are.

    Attributes:
        inputs: Where each resource has read from.
        columns: The column of a database behind each column, by resource that reads one table.
        places: The place of each table that was written, as `InputSnapshot.reads` takes it; folders
            of files are told by the tables themselves.
    """

    inputs: Mapping[str, tuple[InputSnapshot, ...]] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)


def origins_of(
    told: tuple[Iterable[Any], Iterable[Any]],
    feeds: Feeds,
    resources: Iterable[str],
    source: Any,
    redactor: Redactor,
    request: RunRequest,
) -> Origins:
    """Return what dlt's trace says of the origins of a run; what it does not say is a warning.

    Args:
        told: What dlt says of the extractions of a run, and of the packages that it loaded.
        feeds: Who feeds whom in the source.
        resources: Names of the resources that the run was about.
        source: The source.
        redactor: Takes secrets out.
        request: Takes the warning.
    """
    extracts, load_infos = told
    try:
        inputs = _inputs_of(extracts, feeds, resources, redactor.redact_value)
        return Origins(
            inputs=inputs, columns=_columns_read(source, inputs), places=_places_of(load_infos)
        )
    except Exception as error:  # noqa: BLE001 - looking never fails a load
        request.warn(f"what was read is not told ({type(error).__name__})")
        return Origins()


def _inputs_of(
    extracts: Iterable[Any],
    feeds: Feeds,
    resources: Iterable[str],
    redact: Callable[[Any], Any],
) -> dict[str, tuple[InputSnapshot, ...]]:
    """Return the inputs of each resource; what feeds it stands for one that says nothing."""
    told: dict[str, dict[InputSnapshot, None]] = {}
    for metrics in _metrics(extracts):
        for location in metrics.get("inputs", ()):
            told.setdefault(str(location["resource_name"]), {})[_input(redact(dict(location)))] = (
                None
            )
    found = {}
    for name in resources:
        teller = next((link for link in feeds.chain(name) if link in told), None)
        if teller is not None:
            found[name] = tuple(told[teller])
    return found


def _columns_read(
    source: Any, inputs: Mapping[str, Iterable[InputSnapshot]]
) -> dict[str, dict[str, str]]:
    from dlt.extract.exceptions import DltResourceException

    found = {}
    normalize = source.schema.naming.normalize_path
    for name, places in inputs.items():
        if sum(len(place.tables) for place in places) != 1 or name not in source.resources:
            continue
        try:
            hints = source.resources[name].compute_table_schema()
        except DltResourceException:
            # Each row chooses them.
            continue
        found[name] = {normalize(column): column for column in hints.get("columns") or ()}
    return found


def _places_of(load_infos: Iterable[Any]) -> dict[str, str]:
    found = {}
    for metrics in _metrics(load_infos):
        for output in metrics.get("outputs", ()):
            location, dataset = output.get("location"), output.get("physical_dataset_name")
            if location and dataset and not output["destination_type"].endswith("filesystem"):
                for table in output["tables"]:
                    found[str(table)] = f"{location}/{dataset}/{table}"
    return found


def _metrics(infos: Iterable[Any]) -> Iterator[Any]:
    for info in infos:
        for metrics in (info.metrics if info else {}).values():
            yield from metrics


def _input(location: Mapping[str, Any]) -> InputSnapshot:
    names: list[str] = []
    for kind_of_name in _NAMES:
        value = location.get(kind_of_name) or ()
        names.extend([value] if isinstance(value, str) else map(str, value))
    where, database = location.get("location"), location.get("database")
    scheme, _, address = str(where or "").partition("://")
    is_file = bool(database) and address == database
    shown = f"{where}/{database}" if where and database and not is_file else where
    places: list[str] = []
    if location.get("tables") and address:
        schema = location.get("db_schema") or _DEFAULT_SCHEMAS.get(scheme, database)
        port = _DEFAULT_PORTS.get(scheme)
        if not is_file and port and ":" not in address:
            address = f"{address}:{port}"
        base = str(Path(address).absolute()) if is_file else f"{address}/{database}"
        places = [f"{base}/{schema}/{table}" for table in location["tables"]]
    elif location.get("glob") and where:
        places = [f"{str(where).rstrip('/')}/{location['glob']}".rpartition("/")[0]]
    return InputSnapshot(
        kind=str(location["kind"]),
        location=shown,
        names=tuple(names),
        tables=tuple(map(str, location.get("tables") or ())),
        places=tuple(places),
    )
