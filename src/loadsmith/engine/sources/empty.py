"""Resources that yield no row in a run: what becomes of the rows that the destination has of them.

It is decided before dlt commits what it extracted, so that a package that another run completes
was made by the same rule.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dlt.common.data_writers.writers import count_rows_in_items
from dlt.extract.extractors import ImportFileMeta
from dlt.extract.items_transform import ItemTransform

from loadsmith.engine.dlt_hooks import left_alone
from loadsmith.errors import RunError
from loadsmith.model import RunRequest


class _RowCount(ItemTransform[Any, dict[str, Any]]):
    """The last step of a resource: counts the rows that dlt writes."""

    placement_affinity = 2  # behind cursors and limits

    def __init__(self, *, drops_empty_pages: bool) -> None:
        super().__init__(lambda item: item)
        self.rows = 0
        self._drops_empty_pages = drops_empty_pages

    def __call__(self, item: Any, meta: Any = None) -> Any:
        """Return a page, or None for one that would empty the table."""
        if item is None:
            return None
        rows = 1 if isinstance(meta, ImportFileMeta) else count_rows_in_items(item)
        self.rows += rows
        return None if self._drops_empty_pages and not rows else item


@contextlib.contextmanager
def watched_for_rows(
    source: Any, resources: Iterable[str], on_empty: str, request: RunRequest, load: str
) -> Iterator[list[str]]:
    """Do as `on_empty` says with those of `resources` that yield no row in the block.

    Yields a list that holds their names after the block, but for `truncate`, where nobody counts.

    Args:
        source: A copy of a dlt source for this run alone.
        resources: Names of the resources that are loaded.
        on_empty: `truncate`, `keep`, `fail` or `warn`, see `RunOptions`.
        request: Takes what is said of them.
        load: Name of the load, for errors.
    """
    empty: list[str] = []
    if on_empty == "truncate":
        yield empty
        return
    counts: dict[str, _RowCount] = {}
    for name in resources:
        counts[name] = _RowCount(drops_empty_pages=on_empty != "warn")
        source.resources[name].add_step(counts[name])

    def decide(extracted: Iterable[str]) -> list[str]:
        found = [name for name in extracted if name in counts and not counts[name].rows]
        empty.extend(found)
        if found and on_empty == "fail":
            raise _error(found, load)
        return found if on_empty == "keep" else []

    with left_alone(decide):
        yield empty
    tell: Callable[[str], None] = request.warn if on_empty == "warn" else request.log
    for name in empty:
        tell(_said(name, source.resources[name].write_disposition, on_empty))


def _said(name: str, disposition: Any, on_empty: str) -> str:
    if isinstance(disposition, dict):
        disposition = disposition.get("disposition")
    said = f"resource '{name}' yielded no row in this run"
    if on_empty == "keep":
        return f"{said}; what the destination has of it is kept"
    if disposition == "replace":
        return f"{said}: its table is emptied. To keep the rows, set on_empty: keep."
    return f"{said}"


def _error(names: list[str], load: str) -> RunError:
    listed = ", ".join(f"'{name}'" for name in names)
    return RunError(
        f"load '{load}', extract, resource {listed}: no row came in this run, and on_empty is"
        " 'fail'. Nothing of this extract was loaded, and the destination is as it was. Look at the"
        " source, or set on_empty to 'keep', 'warn' or 'truncate'.",
        stage="extract",
        load=load,
        resources=names,
    )
