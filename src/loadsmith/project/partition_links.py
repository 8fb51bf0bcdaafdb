"""Find the partitions of a parent that belong to the partitions of a run."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, TypeAlias

import dagster as dg

Partitions: TypeAlias = "dg.PartitionsDefinition[Any]"

_Dimension: TypeAlias = tuple[Partitions, Sequence[str]]


def parent_partitions(
    own: Partitions, keys: Sequence[str], parent: Partitions
) -> tuple[str, ...] | None:
    """Return the parent's partitions that belong to the partitions `keys` of a run.

    Windows of time belong to overlapping windows, and other keys to equal keys. Of two dimensions,
    the one that the other asset has counts.

    Returns:
        The keys, which may be none; None if the partitions have nothing in common.
    """
    if own == parent:
        return tuple(keys)
    dimensions = _dimensions_of(own, keys)
    if isinstance(parent, dg.MultiPartitionsDefinition):
        return _keys_of_multi(dimensions, parent)
    for dimension, found_keys in dimensions.values():
        mapped = _mapped(dimension, found_keys, parent)
        if mapped is not None:
            return mapped
    return None


def _dimensions_of(own: Partitions, keys: Sequence[str]) -> Mapping[str, _Dimension]:
    if not isinstance(own, dg.MultiPartitionsDefinition):
        return {"": (own, keys)}
    parts = [own.get_partition_key_from_str(key).keys_by_dimension for key in keys]
    return {
        dimension.name: (
            dimension.partitions_def,
            list(dict.fromkeys(part[dimension.name] for part in parts)),
        )
        for dimension in own.partitions_defs
    }


def _keys_of_multi(
    dimensions: Mapping[str, _Dimension], parent: dg.MultiPartitionsDefinition
) -> tuple[str, ...] | None:
    wanted: dict[str, Sequence[str]] = {}
    is_linked = False
    for dimension in parent.partitions_defs:
        # A dimension of the same name comes first.
        own = sorted(dimensions.items(), key=lambda item: item[0] != dimension.name)
        mapped = next(_all_mapped(own, dimension.partitions_def), None)
        is_linked |= mapped is not None
        wanted[dimension.name] = (
            dimension.partitions_def.get_partition_keys() if mapped is None else mapped
        )
    if not is_linked:
        return None
    return tuple(
        dg.MultiPartitionKey(dict(zip(wanted, keys, strict=True)))
        for keys in product(*wanted.values())
    )


def _all_mapped(
    own: Sequence[tuple[str, _Dimension]], parent: Partitions
) -> Iterator[tuple[str, ...]]:
    for _, (dimension, keys) in own:
        mapped = _mapped(dimension, keys, parent)
        if mapped is not None:
            yield mapped


def _mapped(own: Partitions, keys: Sequence[str], parent: Partitions) -> tuple[str, ...] | None:
    if own == parent:
        return tuple(keys)
    is_time = isinstance(own, dg.TimeWindowPartitionsDefinition)
    if is_time != isinstance(parent, dg.TimeWindowPartitionsDefinition):
        return None
    if isinstance(own, dg.TimeWindowPartitionsDefinition) and isinstance(
        parent, dg.TimeWindowPartitionsDefinition
    ):
        return _overlapping(own, keys, parent)
    known = parent.get_partition_keys()
    return tuple(key for key in keys if key in known)


def _overlapping(
    own: dg.TimeWindowPartitionsDefinition,
    keys: Sequence[str],
    parent: dg.TimeWindowPartitionsDefinition,
) -> tuple[str, ...]:
    first, last = (own.time_window_for_partition_key(key) for key in (keys[0], keys[-1]))
    # Dagster returns windows that begin inside of another; the one before may overlap, too.
    before = parent.get_partition_key_for_timestamp(first.start.timestamp())
    begin = parent.time_window_for_partition_key(before).start
    window = dg.TimeWindow(begin, last.end)
    return tuple(parent.get_partition_keys_in_time_window(window))
