"""Give rows of dlt's own backend the values that dlt's default format leaves in a destination."""

from collections.abc import Mapping
from decimal import MAX_PREC, ROUND_HALF_UP, Context, Decimal
from typing import Any

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema.typing import TTableSchemaColumns
from dlt.sources.sql_database.helpers import BaseTableLoader
from sqlalchemy import Numeric

from loadsmith.engine.sources.sql_begun import current_schema
from loadsmith.engine.sources.sql_types import TableReadError

#: DuckDB reads no parquet with longer decimals, and Arrow has none with more than 76 digits.
_PARQUET_DIGITS = 38


def as_inserted(
    page: list[dict[str, Any]], loader: BaseTableLoader, scale: int
) -> list[dict[str, Any]]:
    """Return rows with the values that INSERT leaves in the destination.

    It rounds decimals of columns that declare no scale. dlt takes out NUL characters.

    Args:
        page: The rows, which are changed.
        loader: Who read them.
        scale: Digits after the point that the destination keeps.

    Raises:
        TableReadError: A column of integers has one that no destination takes.
    """
    kinds = {name: column.get("data_type") for name, column in loader.columns.items()}
    cursor = loader.cursor_column.name if loader.cursor_column is not None else None
    decimals = [
        name
        for name in page[0]
        if loader.columns.get(name, {}).get("scale") is None
        and kinds.get(name) in ("decimal", None)
        and name != cursor
    ]
    for row in page if decimals else ():
        for name in decimals:
            if isinstance(row[name], Decimal):
                row[name] = _rounded(row[name], scale)
    # PostgreSQL has neither NUL in texts nor integers of more than 64 bits.
    for row in page if loader.engine.dialect.name != "postgresql" else ():
        for name, value in row.items():
            if isinstance(value, str):
                row[name] = value.replace("\0", "")
            elif _is_too_long(value, kinds.get(name)):
                message = f"column '{name}': {value} has more than the 64 bits of `bigint`"
                raise TableReadError(loader.table.name, message)
    return page


def format_of_rows(
    loader: BaseTableLoader,
    capabilities: DestinationCapabilitiesContext,
    stored: TTableSchemaColumns,
    *,
    is_inserted: bool,
) -> str | None:
    """Return dlt's default format where parquet does not give the destination the same values.

    It does not hold all digits of some decimals, and a destination converts its values to a type
    that a column had before by other rules than those in SQL. dlt keeps the format of a table.

    Args:
        loader: Who reads the rows.
        capabilities: Those of the destination.
        stored: Columns of the table that has rows of earlier loads.
        is_inserted: Whether the default is to insert values.
    """
    default = "insert_values" if is_inserted else "jsonl"
    is_postgres = capabilities.sqlglot_dialect == "postgres"
    if (
        capabilities.preferred_loader_file_format != "parquet"
        or default not in capabilities.supported_loader_file_formats
    ):
        return None
    decimals = [each for each in loader.columns.values() if each.get("data_type") == "decimal"]
    is_other = any(map(_is_no_parquet_decimal, decimals))
    if is_inserted:
        # The cursor is compared with more digits than the table keeps.
        kind: Any = None if loader.cursor_column is None else loader.cursor_column.type
        is_other |= isinstance(kind, Numeric) and kind.asdecimal and kind.scale is None
        naming = current_schema().naming
        # Of PostgreSQL, the copy compares the types, and says of which column an error is.
        for name, column in () if is_postgres else loader.columns.items():
            before = stored.get(naming.normalize_identifier(name), {}).get("data_type")
            is_other |= before not in (None, column.get("data_type", before))
    else:
        is_other |= any(column.get("scale") is None for column in decimals)
        # Readers take the files of a table for files of one format.
        is_other &= not stored
    return default if is_other else None


def _is_no_parquet_decimal(column: Mapping[str, Any]) -> bool:
    digits, scale = column.get("precision"), column.get("scale") or 0
    return digits is not None and (digits > _PARQUET_DIGITS or not 0 <= scale <= digits)


def _is_too_long(value: Any, data_type: str | None) -> bool:
    # dlt makes an integer of a float where the column is one of integers.
    taken = {"bigint": (int, float), None: (int,)}.get(data_type, ())
    return isinstance(value, taken) and not -(2**63) <= value < 2**63


def _rounded(value: Decimal, scale: int) -> Decimal:
    """Return a decimal with at most `scale` digits after the point, as SQL rounds it."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= -scale:
        return value
    # The default context has 28 digits, and raises where a result has more.
    return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, Context(prec=MAX_PREC))
