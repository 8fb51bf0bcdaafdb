"""Files and tables with a log: a partition is there once, removed as whole packages."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder
from pyiceberg.table import StaticTable

from loadsmith.errors import ResolveError


def ids_in(lake) -> Counter[str]:
    """Return how often each row is there; each has two nested rows."""
    ids = Counter(row["id"] for row in rows_of(lake.folder / "lake" / lake.dataset / "events"))
    nested = rows_of(lake.folder / "lake" / lake.dataset / "events__items")
    assert len(nested) == 2 * ids.total()
    return ids


def rows_of(folder: Path) -> list[dict[str, Any]]:
    if metadata := sorted((folder / "metadata").glob("*.metadata.json")):
        return StaticTable.from_metadata(metadata[-1].as_uri()).scan().to_arrow().to_pylist()
    if not (folder / "_delta_log").exists():
        return [row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    table = QueryBuilder().register("rows", DeltaTable(folder)).execute("SELECT * FROM rows")
    return pa.table(table).to_pylist()


@pytest.mark.parametrize("table_format", [None, "delta", "iceberg"])
@pytest.mark.parametrize("disposition", ["append", "replace"])
def test_a_day_in_a_lake_is_replaced(lake, disposition, table_format):
    lake.disposition = disposition
    lake.hints = {"table_format": table_format} if table_format else {}
    for number in (1, 2, 1):
        lake.load(number)
    lake.rows[1] = [2, 3]
    lake.load(1)
    assert ids_in(lake) == lake.expected(1, 2)


def test_a_day_of_a_range_in_a_lake_is_refused_and_the_range_is_replaced(lake):
    lake.load(1, 3)
    with pytest.raises(ResolveError, match="Load that range"):
        lake.load(2)
    lake.load(1, 3)
    assert ids_in(lake) == lake.expected(1, 2, 3)


def test_a_limit_says_what_it_leaves_as_if_it_were_all(lake):
    lake.run(params={"limit": 1})
    told = "\n".join(lake.warned)
    assert (
        "resource 'events': `limit: 1` reads so many pages at most, and its cursor may go past"
        in told
    )
    assert (
        "resource 'lookup': `limit: 1` reads so many pages at most, and its table is replaced"
        in told
    )
    assert "'log'" not in told
    lake.warned.clear()
    lake.load(1, params={"limit": 1, "reload": "append"})
    assert "cursor may go past" not in "\n".join(lake.warned)
