"""Tell from which columns the columns of a table come, as far as that is known."""

from collections.abc import Mapping, Sequence

import dagster as dg

from loadsmith.assets.define import AssetTarget
from loadsmith.assets.run.metadata import ResultIndex
from loadsmith.model import TableResult


def column_lineage(
    index: ResultIndex,
    table: TableResult,
    targets: Mapping[dg.AssetKey, AssetTarget],
    upstream: Sequence[dg.AssetKey],
) -> dg.TableColumnLineage | None:
    """Return the lineage of the columns of a table; None where nothing is known of it.

    A table of a database is known by its columns, and a nested table by the keys of the rows above.

    Args:
        index: The result.
        table: The table.
        targets: What each asset of the load stands for.
        upstream: The keys of the assets upstream of the table's.
    """
    if table.parent is None:
        found = _from_database(index, table, [key for key in upstream if key not in targets])
    else:
        found = _from_rows_above(index, table, targets)
    return dg.TableColumnLineage(found) if found else None


def _from_database(
    index: ResultIndex, table: TableResult, upstream: Sequence[dg.AssetKey]
) -> dict[str, list[dg.TableColumnDep]]:
    columns = index.result.columns_read.get(table.resource, {})
    names = [name for found in index.result.inputs.get(table.resource, ()) for name in found.tables]
    if not columns or len(names) != 1:
        return {}
    (name,) = names
    # An asset of that name stands for the table, and any other for all that the database has.
    of_table = next((key for key in upstream if key.path[-1].endswith(name)), None)
    source = of_table or next(iter(upstream), None)
    if source is None:
        return {}
    start = "" if of_table else f"{name}."
    return {
        column.name: [dg.TableColumnDep(source, f"{start}{columns[column.name]}")]
        for column in table.columns
        if column.name in columns
    }


def _from_rows_above(
    index: ResultIndex, table: TableResult, targets: Mapping[dg.AssetKey, AssetTarget]
) -> dict[str, list[dg.TableColumnDep]]:
    keys = {
        target.table: key for key, target in targets.items() if target.resource == table.resource
    }
    above = {"parent_key": str(table.parent), "root_key": index.root_of(table)}
    found = {}
    for column in table.columns:
        name = next((above[key] for key in column.dlt_keys if key in above), None)
        if name not in keys or name not in index.tables:
            continue
        row_key = next(
            (other.name for other in index.tables[name].columns if "row_key" in other.dlt_keys),
            None,
        )
        if row_key is not None:
            found[column.name] = [dg.TableColumnDep(keys[name], row_key)]
    return found
