"""Find the assets and partitions that a user selects on the command line."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadsmith.errors import SelectionError, did_you_mean

if TYPE_CHECKING:
    import dagster as dg

RANGE_MARK = "..."
"""Separates the first and the last partition of a range, as in Dagster's UI."""


def select_assets(definitions: "dg.Definitions", selections: Sequence[str]) -> list["dg.AssetKey"]:
    """Return the keys of the assets that can be materialized and are selected, sorted.

    A selection is a key (`github/api/pull_requests`), a pattern (`github/*`), several of them with
    commas, or what Dagster's own selection takes (`key:"a/b"+`, `group:raw`, `kind:dlt`).

    Raises:
        SelectionError: A selection matches no asset.
    """
    graph = definitions.resolve_asset_graph()
    known = {key.to_user_string(): key for key in graph.materializable_asset_keys}
    selected: set[Any] = set()
    for selection in selections:
        for part in _parts(selection):
            selected |= _select(graph, known, part)
    return sorted(selected, key=lambda key: key.to_user_string())


def _parts(selection: str) -> list[str]:
    return [part.strip() for part in selection.split(",") if part.strip()]


def _select(graph: Any, known: dict[str, Any], part: str) -> set[Any]:
    if part in known:
        return {known[part]}
    by_pattern = {key for name, key in known.items() if fnmatchcase(name, part)}
    if by_pattern:
        return by_pattern
    selected = _select_by_dagster(graph, part) & set(known.values())
    if not selected:
        # A shell puts the names of files in the place of a pattern that is not quoted.
        quote = " Quote a pattern, such as '*'." if Path(part).exists() else ""
        raise SelectionError(
            f"{part}: no asset of this project is selected by it.{did_you_mean(part, known)}"
            f"{quote} `loadsmith list` shows all of them."
        )
    return selected


def _select_by_dagster(graph: Any, part: str) -> set[Any]:
    import dagster as dg
    from dagster import DagsterError

    try:
        return set(dg.AssetSelection.from_string(part).resolve(graph))
    except DagsterError:
        return set()


def partition_tags(
    definitions: "dg.Definitions",
    keys: Iterable["dg.AssetKey"],
    partition: str | None,
    instance: "dg.DagsterInstance",
) -> tuple[str | None, dict[str, str]]:
    """Return the partition key and the tags that a run of these assets needs.

    A range (`2024-01-01...2024-01-07`) is no key but two tags.

    Raises:
        SelectionError: A partition is missing, unknown, or given where there are none.
    """
    graph = definitions.resolve_asset_graph()
    partitioned = {
        key: graph.get(key).partitions_def for key in keys if graph.get(key).partitions_def
    }
    if not partitioned:
        if partition:
            raise SelectionError(
                f"--partition {partition}: none of the selected assets has partitions. Leave it "
                "out."
            )
        return None, {}
    different: set[Any] = set(partitioned.values())
    if len(different) > 1:
        names = "; ".join(f"{key.to_user_string()}: {value}" for key, value in partitioned.items())
        raise SelectionError(
            f"the selected assets have different partitions ({names}). Run each by itself."
        )
    (partitions_def,) = different
    first = min(key.to_user_string() for key in partitioned)
    if not partition:
        known = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
        example = f", such as --partition {known[-1]}, the latest" if known else ""
        raise SelectionError(
            f"{first}: it has partitions, and a run needs to know which. Add --partition "
            f"KEY{example}."
        )
    ends = partition.split(RANGE_MARK)
    for end in ends:
        _check_partition(partitions_def, end, first, instance)
    if len(ends) == 1:
        return partition, {}
    known = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    if known.index(ends[0]) > known.index(ends[-1]):
        raise SelectionError(
            f"--partition {partition}: {ends[0]} comes after {ends[-1]}. Write"
            f" {ends[-1]}{RANGE_MARK}{ends[0]}."
        )
    return None, {
        "dagster/asset_partition_range_start": ends[0],
        "dagster/asset_partition_range_end": ends[-1],
    }


def refuse_part_of_partitions(
    definitions: "dg.Definitions",
    keys: Iterable["dg.AssetKey"],
    partition: str | None,
    instance: "dg.DagsterInstance",
) -> None:
    """Refuse to start over with some partitions: what is dropped holds the rows of all of them.

    Raises:
        SelectionError: The run would not load all partitions.
    """
    graph = definitions.resolve_asset_graph()
    for key in keys:
        partitions_def = graph.get(key).partitions_def
        if partitions_def is None:
            continue
        known = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
        ends = (partition or "").split(RANGE_MARK)
        if known and (ends[0], ends[-1]) == (known[0], known[-1]):
            continue
        text = key.to_user_string()
        advice = "Load each partition again instead, which replaces its rows."
        if known and hasattr(partitions_def, "time_window_for_partition_key"):
            advice = f"Load all of them: --partition {known[0]}{RANGE_MARK}{known[-1]}."
        raise SelectionError(
            f"--full-refresh: {text} has partitions, and its table holds all of them: what is "
            f"dropped would not come back with one. {advice}"
        )


def _check_partition(
    partitions_def: Any, key: str, asset: str, instance: "dg.DagsterInstance"
) -> None:
    import dagster as dg

    is_dynamic = isinstance(partitions_def, dg.DynamicPartitionsDefinition)
    if is_dynamic and instance.is_ephemeral:
        # An ephemeral instance knows no dynamic partition yet.
        instance.add_dynamic_partitions(partitions_def.name, [key])
    known = partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    if key in known:
        return
    nearest = _nearest_in_time(partitions_def, key, known)
    hint = f" Did you mean {nearest!r}?" if nearest else did_you_mean(key, known)
    bounds = f" They go from {known[0]} to {known[-1]}." if known else " There are none yet."
    raise SelectionError(f"--partition {key}: {asset} has no such partition.{hint}{bounds}")


def _nearest_in_time(partitions_def: Any, key: str, known: Sequence[str]) -> str | None:
    """Return the partition of the time that a misspelled key means, or else the nearest one."""
    if not known or not hasattr(partitions_def, "time_window_for_partition_key"):
        return None
    digits = re.sub(r"\b(\d{4})(\d\d)(\d\d)\b", r"\1 \2 \3", key)
    numbers = [int(number) for number in re.findall(r"\d+", digits)][:5]
    try:
        meant = datetime(*[*numbers, 1, 1][: max(len(numbers), 3)])  # type: ignore[arg-type]  # five at most: none is a zone
    except (TypeError, ValueError):
        return None

    def start(other: str) -> datetime:
        window = partitions_def.time_window_for_partition_key(other)
        found: datetime = window.start.replace(tzinfo=None)
        return found

    place = bisect_right(known, meant, key=start)
    return known[max(place - 1, 0)]
