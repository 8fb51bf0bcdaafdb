"""What dlt's destinations and their clients know, where dlt has no public name for it."""

from typing import Any

from dlt.common.destination import Destination


def limited_sql(sql_client: Any, rows: int) -> tuple[str, str]:
    """Return what limits a query, behind its SELECT and at its end, one of which is empty."""
    top, bottom = sql_client._limit_clause_sql(rows)
    return str(top), str(bottom)


def state_files(client: Any, pipeline_name: str) -> list[tuple[str, str]]:
    """Return the load ids and paths of the files that hold the states of a pipeline."""
    table = client.schema.state_table_name
    return [(parts[1], path) for path, parts in client._list_dlt_table_files(table, pipeline_name)]


def schema_files(client: Any) -> set[str]:
    """Return the names of the schemas that are stored as files."""
    return {parts[0] for _, parts in client._list_dlt_table_files(client.schema.version_table_name)}


def class_of(factory: Any) -> Any:
    """Return the class behind what `@dlt.destination` made."""
    return getattr(factory, "_factory", factory)


def is_destination(value: Any) -> bool:
    """Tell whether a value is a class of destinations, or was made by `@dlt.destination`."""
    return hasattr(value, "_factory") or (
        isinstance(value, type) and issubclass(value, Destination)
    )


def global_config_of(sql_client: Any) -> dict[str, Any]:
    """Return the settings that a client of DuckDB opens databases with, to be changed."""
    settings: dict[str, Any] = sql_client._global_config
    return settings
