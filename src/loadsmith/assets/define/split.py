"""A load and its specs in, the parts of it that an op each loads out."""

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import dagster as dg

from loadsmith.assets.define.spec_metadata import RESOURCE_KEY, TABLE_KEY
from loadsmith.errors import one_of
from loadsmith.model import (
    GRANULARITIES,
    Feeds,
    LoadDefinition,
    LoadSnapshot,
    OpSettings,
    ResourceSelection,
    joined,
    note_defined,
)
from loadsmith.names import op_name, unique_name

K = TypeVar("K")
V = TypeVar("V")

# Dagster's own time grows with the square of the outputs of one op, and each op has to make the
# source and to open the destination. 3,000 resources took 66 s in parts of 100, 62 s in parts of
# 150, 59 s in parts of 200 and 61 s in parts of 300.
OUTPUTS_PER_OP = 200


def split_load(
    definition: LoadDefinition,
    specs: Sequence[dg.AssetSpec],
    snapshot: LoadSnapshot,
    outputs_per_op: int = OUTPUTS_PER_OP,
) -> list[tuple[LoadDefinition, list[dg.AssetSpec]]]:
    """Split a load as its `granularity` and the op settings of its resources say, whole resources.

    `source` makes parts of at most so many assets. A transformer stays with the resource that
    feeds it, which would be extracted twice otherwise; only `table` takes those apart whose feed is
    not loaded itself. Resources with op settings of their own are apart from the others, and
    together with those that have the same.

    Args:
        definition: The load.
        specs: Its assets.
        snapshot: What is known of it; who feeds whom is known from the source, or what was stored
            of it, but not from a schema file.
        outputs_per_op: Assets of one part at most, unless one resource alone has more.
    """
    note_defined(definition)
    granularity = definition.op.granularity
    if granularity == "source" and len(specs) <= outputs_per_op and not definition.resource_ops:
        return [(definition, list(specs))]
    families = _families(specs, snapshot, only_loaded=granularity == "table")
    parts: list[_Part] = []
    for op, own in _by_op(definition, families):
        if granularity != "source":
            parts += [_Part(op, name, "__", family) for name, family in own.items()]
            continue
        for number, part in enumerate(_filled_up(own, outputs_per_op), start=1):
            if op == definition.op:
                parts.append(_Part(op, str(number), "_", part))
            else:
                parts.append(_Part(op, str(part[0].metadata[RESOURCE_KEY]), "__", part))
    if len(parts) == 1:
        return [(replace(definition, op=parts[0].op), parts[0].specs)]
    ends = _op_names(definition.name, parts)
    whole = _resources_of(specs)
    return [
        (
            load_part(definition, end, part.op, _resources_of(part.specs), whole),
            part.specs,
        )
        for end, part in zip(ends, parts, strict=True)
    ]


@dataclass(frozen=True)
class _Part:
    """What one op loads, and how its name goes on after that of the load."""

    op: OpSettings
    name: str
    joint: str
    specs: list[dg.AssetSpec]


def with_granularity(definition: LoadDefinition, granularity: str) -> LoadDefinition:
    """Return the load with another granularity.

    Raises:
        ConfigError: There is no such granularity.
    """
    granularity = one_of(GRANULARITIES, granularity, "granularity")
    return replace(definition, op=replace(definition.op, granularity=granularity))


def load_part(
    definition: LoadDefinition,
    name: str,
    op: OpSettings,
    resources: Iterable[str],
    whole: Iterable[str],
) -> LoadDefinition:
    """Return the part of a load that an op of its own loads.

    Args:
        definition: The load.
        name: Name of the part.
        op: How Dagster runs its op.
        resources: Names of its resources.
        whole: Names of all resources of the load.
    """
    return replace(
        definition,
        name=name,
        op=op,
        resources=ResourceSelection(include=tuple(map(glob.escape, resources))),
        owns_pipeline_name=False,
        whole_owns_pipeline_name=definition.is_alone,
        part_of=definition.part_of or ResourceSelection(include=tuple(map(glob.escape, whole))),
        whole=definition.whole or definition.name,
    )


def group_equal(pairs: Iterable[tuple[K, V]]) -> list[tuple[K, list[V]]]:
    """Return the values together whose keys are equal; keys need not be hashable."""
    groups: list[tuple[K, list[V]]] = []
    for key, value in pairs:
        values = next((values for known, values in groups if known == key), None)
        if values is None:
            groups.append((key, [value]))
        else:
            values.append(value)
    return groups


def _resources_of(specs: Sequence[dg.AssetSpec]) -> list[str]:
    return list(dict.fromkeys(str(spec.metadata[RESOURCE_KEY]) for spec in specs))


def _families(
    specs: Sequence[dg.AssetSpec], snapshot: LoadSnapshot, *, only_loaded: bool
) -> dict[str, list[dg.AssetSpec]]:
    """Return the specs by the resource that feeds them all, or whose table they share.

    Only one of the load counts if `only_loaded`, and one with a cursor, which two ops cannot share.
    Ops that replace one table would each leave their own rows in it.
    """
    feeds = Feeds.of_snapshots(snapshot.resources)
    loaded = {str(spec.metadata[RESOURCE_KEY]) for spec in specs}
    roots: dict[str, str] = {}
    marks: dict[str, list[str]] = {}
    for spec in specs:
        resource, table = str(spec.metadata[RESOURCE_KEY]), spec.metadata.get(TABLE_KEY)
        chain = feeds.chain(resource)
        counts = loaded | feeds.cursors if only_loaded else set(chain)
        roots[resource] = next((name for name in reversed(chain) if name in counts), chain[0])
        own = marks.setdefault(resource, [f"root {roots[resource]}"])
        own += [] if table is None else [f"table {table}"]
    root_of = {name: roots[family[0]] for family in joined(marks) for name in family}
    families: dict[str, list[dg.AssetSpec]] = {}
    for spec in specs:
        families.setdefault(root_of[str(spec.metadata[RESOURCE_KEY])], []).append(spec)
    return families


def _filled_up(
    families: Mapping[str, Sequence[dg.AssetSpec]], outputs_per_op: int
) -> list[list[dg.AssetSpec]]:
    parts: list[list[dg.AssetSpec]] = []
    for family in families.values():
        if not parts or len(parts[-1]) + len(family) > outputs_per_op:
            parts.append([])
        parts[-1].extend(family)
    return parts


def _by_op(
    definition: LoadDefinition, families: Mapping[str, list[dg.AssetSpec]]
) -> list[tuple[OpSettings, dict[str, list[dg.AssetSpec]]]]:
    """Return the families by how their op is run, those that are run as the load's first."""

    def op_of(family: Sequence[dg.AssetSpec]) -> OpSettings:
        ops = definition.resource_ops
        return next((ops[name] for name in _resources_of(family) if name in ops), definition.op)

    groups = group_equal((op_of(family), (name, family)) for name, family in families.items())
    return [
        (op, dict(members)) for op, members in sorted(groups, key=lambda g: g[0] != definition.op)
    ]


def _op_names(load: str, parts: Sequence[_Part]) -> list[str]:
    """Return a name for each part; the same for the same resource, whatever else is loaded."""
    found: dict[str, None] = {}
    for part in parts:
        name = op_name(f"{load}{part.joint}{part.name}")
        found[unique_name(name, found)] = None
    return list(found)
