"""Make parts of default asset keys, and the keys of tables from those of their resources."""

import re
from functools import cache

import dagster as dg

# Dagster makes names of outputs from keys; it replaces these signs itself.
_KEY_PART = re.compile(r"[A-Za-z0-9_.-]*")


@cache
def key_part(name: str) -> str:
    """Return a name as a part of a default key: dlt's table name where Dagster refuses the name."""
    if _KEY_PART.fullmatch(name):
        return name
    # Most names need no import of dlt.
    from loadsmith.engine.snapshots import default_table_name

    return default_table_name(name)


def nested_key(root_key: dg.AssetKey, root_table: str, table: str) -> dg.AssetKey:
    """Return the key of a nested table: the root's, with the nested table's suffix."""
    *prefix, last = root_key.path
    if table.startswith(root_table):
        return dg.AssetKey([*prefix, last + table[len(root_table) :]])
    return dg.AssetKey([*prefix, table])


def root_table_key(resource_key: dg.AssetKey, resource: str, table: str) -> dg.AssetKey:
    """Return the key of a root table if there are several: its name replaces the resource's."""
    *prefix, last = resource_key.path
    part = key_part(resource)
    start = last[: -len(part)] if last.endswith(part) else ""
    return dg.AssetKey([*prefix, start + key_part(table)])
