"""Find what dlt has made in a database and somebody has dropped since."""

import re
from typing import Any

from loadsmith.engine.dlt_hooks import is_sql
from loadsmith.errors import causes_of

#: How databases say that a table or a column is missing.
_MISSING = re.compile(r"not exist|not_found|no such|doesn't exist|have a column", re.IGNORECASE)


def is_of_missing(error: BaseException) -> bool:
    """Tell whether a database says that something is not there."""
    return any(_MISSING.search(str(cause)) for cause in causes_of(error))


def dropped_from(client: Any, schema: Any, own_table: str) -> list[str]:
    """Return the tables and columns that dlt's schema has and a SQL database has not, in words.

    Args:
        client: The open client of the destination.
        schema: dlt's schema of what was loaded.
        own_table: The table of the ledger.
    """
    if not is_sql(client):
        return []
    wanted: dict[str, list[str]] = {
        table["name"]: [name for name, own in table["columns"].items() if "data_type" in own]
        for table in (*schema.data_tables(), *schema.dlt_tables())
    }
    found = []
    for name, columns in client.get_storage_tables([*wanted, own_table]):
        there = {column.casefold() for column in columns}
        if not there:
            found.append(f"the table '{name}'")
            continue
        found += [
            f"the column '{column}' of the table '{name}'"
            for column in wanted.get(name, ())
            if column.casefold() not in there
        ]
    return found
