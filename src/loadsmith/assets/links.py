"""Say what is upstream of loads: what their sources read, and tables of other loads among that."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from loadsmith.assets.define import (
    RESOURCE_KEY,
    TABLE_KEY,
    build_upstream_specs as build_upstream_specs,
    loads_in,
)
from loadsmith.model import ResourceSnapshot, TableSnapshot


@dataclass(frozen=True)
class _Seen:
    """What a run has seen of an asset.

    Attributes:
        resource: Its resource.
        tables: Its table, or all of its resource where it stands for all.
    """

    resource: ResourceSnapshot
    tables: Sequence[TableSnapshot]

    @property
    def is_nested(self) -> bool:
        return bool(self.tables) and all(table.parent is not None for table in self.tables)


def link_loads(assets: Iterable[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Return assets of loads, each downstream of the tables that its source has read.

    A run sees which tables of a database, and which folders of files, a source reads. Where another
    load writes them, its asset is upstream from then on. What the assets depend on stays.

    Args:
        assets: The assets; those that belong to no load stay as they are.
    """
    given = list(assets)
    specs = {spec.key: spec for one in given for spec in one.specs}
    ops = {key: number for number, one in enumerate(given) for key in one.keys}
    upstream = {key: {dep.asset_key for dep in spec.deps} for key, spec in specs.items()}
    seen = dict(_seen_of(specs))
    places = {table.place: key for key, one in seen.items() for table in one.tables if table.place}
    links: dict[dg.AssetKey, list[dg.AssetDep]] = defaultdict(list)
    for key, one in seen.items():
        for above in () if one.is_nested else _read_by(one.resource, places):
            if ops[above] == ops[key] or above in upstream[key]:
                continue
            # Two loads may read what the other has written; the graph has no circles.
            if _reaches(above, key, upstream):
                continue
            upstream[key].add(above)
            mapping = _mapping(given[ops[above]].partitions_def, given[ops[key]].partitions_def)
            links[key].append(dg.AssetDep(above, partition_mapping=mapping))
    return [_linked(one, links) for one in given]


def _linked(
    assets: dg.AssetsDefinition, links: Mapping[dg.AssetKey, Sequence[dg.AssetDep]]
) -> dg.AssetsDefinition:
    if not any(key in links for key in assets.keys):
        return assets
    return assets.map_asset_specs(
        lambda spec: spec.replace_attributes(deps=[*spec.deps, *links.get(spec.key, ())])
    )


def _seen_of(
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> Iterator[tuple[dg.AssetKey, _Seen]]:
    tables: dict[int, dict[str, TableSnapshot]] = {}
    for key, spec in specs.items():
        names = loads_in([spec.metadata])
        known = names[0].snapshot.resource(str(spec.metadata[RESOURCE_KEY])) if names else None
        if known is None or known.seen is None:
            continue
        if id(known.seen) not in tables:
            tables[id(known.seen)] = {table.name: table for table in known.seen.tables}
        by_name = tables[id(known.seen)]
        name = spec.metadata.get(TABLE_KEY)
        own = by_name.values() if name is None else filter(None, [by_name.get(name)])
        yield key, _Seen(known.seen, tuple(own))


def _read_by(
    resource: ResourceSnapshot, places: Mapping[str, dg.AssetKey]
) -> Iterator[dg.AssetKey]:
    for one in resource.inputs:
        for pattern in one.places:
            if pattern in places:
                yield places[pattern]
            elif "*" in pattern:
                yield from (key for place, key in places.items() if one.reads(place))


def _reaches(
    start: dg.AssetKey, goal: dg.AssetKey, upstream: Mapping[dg.AssetKey, set[dg.AssetKey]]
) -> bool:
    waiting, visited = [start], {start}
    while waiting:
        key = waiting.pop()
        if key == goal:
            return True
        new = upstream.get(key, set()) - visited
        visited |= new
        waiting.extend(new)
    return False


def _mapping(
    above: "dg.PartitionsDefinition | None", below: "dg.PartitionsDefinition | None"
) -> dg.PartitionMapping | None:
    """Return how partitions of two loads belong together, where Dagster does not know."""
    both = (above, below)
    if None in both or above == below:
        return None
    if all(isinstance(one, dg.TimeWindowPartitionsDefinition) for one in both):
        return None
    return dg.AllPartitionMapping()
