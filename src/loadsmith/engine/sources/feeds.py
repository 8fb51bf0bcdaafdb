"""Who feeds whom in a live source, and what ops of one load may not share."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from dlt.extract import DltResource, Incremental

from loadsmith.engine.dlt_hooks import feeding, incremental_of, values_in
from loadsmith.errors import ResolveError, SelectionError
from loadsmith.model import Feeds, LoadDefinition, RunRequest

#: Values of a list that are compared; rows that a resource is made of are more.
_MOST_VALUES = 1000

_SCALARS = (str, bytes, int, float, Decimal, date, time, timedelta, Enum, PurePath, UUID)


def feeds_of(source: Any) -> Feeds:
    """Return who feeds whom in a live source."""
    known = source.resources
    chains = {str(name): feeding(resource, known) for name, resource in known.items()}
    return Feeds(
        chains={name: tuple(str(link.name) for link in chain) for name, chain in chains.items()},
        cursors=frozenset(
            str(link.name)
            for chain in chains.values()
            for link in chain
            if incremental_of(link) is not None
        ),
    )


def values_of(source: Any, names: Iterable[str]) -> dict[str, dict[str, Any] | None]:
    """Return the values that resources of a live source, or their feeds, were made with.

    None stands for values that are more than plain data, such as the client of an API.
    """
    known = source.resources
    links = {str(link.name): link for one in known.values() for link in feeding(one, known)}
    found: dict[str, dict[str, Any] | None] = {}
    for name in names:
        try:
            found[name] = _plain(values_in(links[name]))
        except (TypeError, RecursionError):
            found[name] = None
    return found


def _plain(value: Any) -> Any:
    """Return a value as plain data.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        if len(value) > _MOST_VALUES:
            raise TypeError("too many values to compare")
        return [_plain(own) for own in value]
    if value is None or isinstance(value, _SCALARS):
        return str(value)
    if isinstance(value, Incremental):
        return str(value.cursor_path)
    if inspect.ismethod(value):
        return [_plain(value.__self__), value.__name__]
    if inspect.isfunction(value):
        return _plain_function(value)
    if inspect.isbuiltin(value) or inspect.isclass(value) or inspect.ismodule(value):
        return f"{getattr(value, '__module__', '')}.{value.__name__}"
    if isinstance(value, DltResource):
        return str(value.name)
    raise TypeError(f"{type(value).__name__} is no plain data")


def _plain_function(function: Any) -> Any:
    """Return a function as plain data: its name, and what it does if it is a local one."""
    name = f"{function.__module__}.{function.__qualname__}"
    if "<" not in name:
        return name
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    constants = [value for value in code.co_consts if not inspect.iscode(value)]
    return [name, code.co_code.hex(), _plain([constants, cells, function.__defaults__])]


def refuse_shared_cursors(
    definition: LoadDefinition, request: RunRequest, feeds: Feeds, wanted: Sequence[str]
) -> None:
    """Refuse a run that would leave out rows, because its cursors are not its own.

    Args:
        definition: The load, or the part of it that an op is.
        request: What the run asks; takes the warning where sharing is allowed.
        feeds: Who feeds whom in the source.
        wanted: The resources that the run loads.

    Raises:
        ResolveError: Another op of the load moves a cursor of this one, too: whichever comes second
            would miss what the first has seen.
        SelectionError: The run loads several partitions that keep a cursor each.
    """
    moved = {name: feed for name in wanted for feed in feeds.moved(name)}
    keys = request.partition_keys
    if len(keys) > 1 and request.window is None and moved:
        name, feed = next(iter(moved.items()))
        raise SelectionError(
            f"load '{definition.name}': one run loads the partitions {', '.join(keys)}, each of"
            f" which keeps a cursor of its own, and the resource '{name}' has a cursor"
            + (f" in '{feed}'" if feed != name else "")
            + ". Load them one by one: backfill_policy=dg.BackfillPolicy.multi_run(1), or"
            " max_partitions_per_run: 1."
        )
    whole, own = definition.part_of, definition.resources
    if whole is None:
        return
    others = [name for name in feeds.chains if whole.matches(name) and not own.matches(name)]
    for name in wanted:
        for feed in feeds.chain(name):
            other = next((found for found in others if feed in feeds.chain(found)), None)
            if other is None:
                continue
            told = (
                f"'{feed}' is read for resource '{name}', and by another op of this load for"
                f" '{other}'"
            )
            if request.window is None and feed in feeds.cursors:
                raise ResolveError(
                    f"{definition.place or definition.name}: {told}, and the cursor of '{feed}' can"
                    " be in one place only: whichever op comes second would miss rows. Load both in"
                    " one op (granularity: source), or have the source asked who feeds whom (a"
                    " component's snapshot_path) in place of the schema file."
                )
            if feed != name:
                request.warn(f"{told}: it is extracted twice")
                break
