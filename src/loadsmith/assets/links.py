"""Say what is upstream of loads: what their sources read, and tables of other loads among that."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from loadsmith.assets.define import (
    RESOURCE_KEY,
    TABLE_KEY,
    LoadName,
    build_upstream_specs as build_upstream_specs,
    loads_in,
)
from loadsmith.model import ResourceSnapshot


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
    partitions = {key: one.partitions_def for one in given for key in one.keys}
    upstream = {key: {dep.asset_key for dep in spec.deps} for key, spec in specs.items()}
    places = dict(_places(specs.values()))
    links: dict[dg.AssetKey, list[dg.AssetDep]] = defaultdict(list)
    for spec in specs.values():
        for key in _read_by(spec, places):
            if ops[key] == ops[spec.key] or key in upstream[spec.key]:
                continue
            # Two loads may read what the other has written; the graph has no circles.
            if _reaches(key, spec.key, upstream):
                continue
            upstream[spec.key].add(key)
            mapping = _mapping(partitions[key], partitions[spec.key])
            links[spec.key].append(dg.AssetDep(key, partition_mapping=mapping))
    return [_linked(one, links) for one in given]


def _linked(
    assets: dg.AssetsDefinition, links: Mapping[dg.AssetKey, Sequence[dg.AssetDep]]
) -> dg.AssetsDefinition:
    if not any(key in links for key in assets.keys):
        return assets
    return assets.map_asset_specs(
        lambda spec: spec.replace_attributes(deps=[*spec.deps, *links.get(spec.key, ())])
    )


def _seen(spec: dg.AssetSpec) -> ResourceSnapshot | None:
    """Return what a run has seen of the resource of an asset."""
    names: list[LoadName] = loads_in([spec.metadata])
    known = names[0].snapshot.resource(str(spec.metadata[RESOURCE_KEY])) if names else None
    return known.seen if known else None


def _places(specs: Iterable[dg.AssetSpec]) -> Iterator[tuple[str, dg.AssetKey]]:
    """Yield the place of each table, and its asset."""
    for spec in specs:
        seen, table = _seen(spec), spec.metadata.get(TABLE_KEY)
        for known in seen.tables if seen else ():
            if known.place and table in (known.name, None):
                yield known.place, spec.key


def _read_by(spec: dg.AssetSpec, places: Mapping[str, dg.AssetKey]) -> Iterator[dg.AssetKey]:
    seen, table = _seen(spec), spec.metadata.get(TABLE_KEY)
    if seen is None or any(known.name == table and known.parent for known in seen.tables):
        return
    for one in seen.inputs:
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
