"""How dlt's source for databases is called where nobody says how: the fastest way that is exact."""

import importlib.util
import sys
from collections.abc import Mapping
from typing import Any

from dlt.extract import DltSource

from loadsmith.engine.normalizing import ROW_GROUP
from loadsmith.model import SourceReference

# Its decimals have 96 bits; where a value has more digits, its whole process panics.
_CONNECTORX_DIGITS = 28


def fast_sql_backend(connection_string: str) -> str:
    """Return the fastest backend of dlt's `sql_database` for a database, of those installed.

    connectorx reads PostgreSQL four times as fast as pyarrow, with the same types and values; it
    stops at decimals with more than 28 digits, so that tables that may have such are read by
    pyarrow all the same. Other databases were not compared.
    """
    is_postgres = connection_string.partition(":")[0].partition("+")[0] in (
        "postgresql",
        "postgres",
    )
    if is_postgres and importlib.util.find_spec("connectorx") is not None:
        return "connectorx"
    return "pyarrow"


def is_sql_database(reference: SourceReference) -> bool:
    """Tell whether a reference means dlt's source for databases, or one of its functions."""
    return reference.module.partition(".")[0] == "sql_database"


def configured_for_sql(name: str) -> Any:
    """Return what the user's own dlt configuration says of an argument of it, or None."""
    import dlt

    return dlt.config.get(f"sources.sql_database.{name}")


def with_defaults(reference: SourceReference) -> Mapping[str, Any]:
    """Return the arguments, a fast backend among them where nobody chose one."""
    if not is_sql_database(reference):
        return reference.params
    import dlt

    params = dict(reference.params)
    credentials = params.get("credentials") or dlt.secrets.get("sources.sql_database.credentials")
    if not isinstance(credentials, str):
        return params
    driver, separator, rest = credentials.partition("://")
    if driver in ("postgresql", "postgres") and importlib.util.find_spec("psycopg") is None:
        # SQLAlchemy 2.1 takes psycopg where no driver is named; dlt[postgres] installs psycopg2.
        params["credentials"] = f"postgresql+psycopg2{separator}{rest}"
    if "backend" not in params and configured_for_sql("backend") is None:
        params["backend"] = fast_sql_backend(credentials)
        if params["backend"] == "connectorx" and "backend_kwargs" not in params:
            # In one piece, as is its default, memory would grow with the table.
            params["backend_kwargs"] = {"return_type": "arrow_stream"}
            if "chunk_size" not in params and configured_for_sql("chunk_size") is None:
                params["backend_kwargs"]["batch_size"] = ROW_GROUP
    return params


def exact_instead(
    reference: SourceReference, params: Mapping[str, Any], made: DltSource
) -> Mapping[str, Any] | None:
    """Return other arguments where connectorx, which nobody asked for, may not hold all decimals.

    Args:
        reference: What the user says.
        params: The arguments that the source was made with, those of `with_defaults`.
        made: The source.
    """
    is_chosen_here = "backend" not in reference.params and params.get("backend") == "connectorx"
    if not is_chosen_here or not _may_have_long_decimals(made):
        return None
    others = {name: value for name, value in params.items() if name != "backend_kwargs"}
    return {**others, "backend": "pyarrow"}


def _may_have_long_decimals(source: DltSource) -> bool:
    """Tell whether a table has a decimal that connectorx may not hold, or was not looked at yet."""
    for resource in source.resources.values():
        columns = resource.columns
        if not isinstance(columns, Mapping) or not columns:
            return True
        for column in columns.values():
            is_decimal = column.get("data_type") == "decimal"
            if is_decimal and (column.get("precision") or sys.maxsize) > _CONNECTORX_DIGITS:
                return True
    return False
