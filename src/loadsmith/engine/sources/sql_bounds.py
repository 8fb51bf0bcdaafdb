"""Bound the query of a table by a window, in values that its database compares as dlt does.

A database takes a time with a zone, compared with a column that has none, for one of its session's
zone, and compares texts letter by letter. So a bound has to be of the column's own type, which
nobody knows before the table is reflected.
"""

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from dlt.sources.sql_database import register_table_loader_backend
from dlt.sources.sql_database.helpers import BaseTableLoader, get_table_loader_class

from loadsmith.engine.dlt_hooks import Edge, day_at, edge_of
from loadsmith.engine.sources.initial_values import TimeText

#: Types with a time zone that do not say so by an attribute.
_ZONED = ("DATETIMEOFFSET", "TIMESTAMP_TZ", "TIMESTAMP_LTZ")


class BoundByColumn(BaseTableLoader):
    """A table's loader, whose query is bounded by values of the type of the cursor's column."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.cursor_column is not None:
            kind = self.cursor_column.type
            for name in ("initial_value", "start_value"):
                value = getattr(self.incremental, name, None)
                if isinstance(value, TimeText):
                    setattr(self.incremental, name, _in_type(value, None, kind))
            for name in ("last_value", "end_value"):
                value = getattr(self, name)
                setattr(self, name, _in_type(value, edge_of(value, self.incremental), kind))


def _in_type(value: Any, edge: Edge | None, kind: Any) -> Any:
    """Return a bound as a value of a column's type; None where rows are compared on arrival."""
    if isinstance(kind, sa.DateTime):
        has_zone = getattr(kind, "timezone", False) or type(kind).__name__.upper() in _ZONED
        if edge is not None:
            return edge.moment if has_zone else edge.wall
        if isinstance(value, TimeText):
            value = value.moment
        if not isinstance(value, datetime):
            return value
        # As dlt compares rows: a time without a zone is one of UTC.
        moment = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        moment = moment.astimezone(timezone.utc)
        return moment if has_zone else moment.replace(tzinfo=None)
    if isinstance(kind, sa.Date):
        if edge is not None:
            return day_at(edge)
        return value.moment.date() if isinstance(value, TimeText) else value
    # Numbers and texts that mean times compare in no query: their unit and their format are those
    # of the column.
    return value if edge is None else None


def register() -> None:
    """Let dlt read tables by such loaders, for live resources as well."""
    for backend in ("sqlalchemy", "pyarrow", "pandas", "connectorx"):
        loader = get_table_loader_class(backend)
        if not issubclass(loader, BoundByColumn):
            bounded = type(loader.__name__, (BoundByColumn, loader), {})
            register_table_loader_backend(backend, bounded)
