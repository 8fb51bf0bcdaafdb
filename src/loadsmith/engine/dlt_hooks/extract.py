"""Change what dlt does when it extracts: windows, load ids in Arrow tables, tables without rows."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from dlt.common.configuration import known_sections, resolve_configuration
from dlt.common.configuration.container import Container
from dlt.extract.extract import Extract
from dlt.extract.extractors import ArrowExtractor
from dlt.extract.incremental.context import TimeIntervalContext
from dlt.normalize.configuration import ItemsNormalizerConfiguration

# It replaces how dlt compares Arrow pages with a window.
import loadsmith.engine.dlt_hooks.window_pages  # noqa: F401
from loadsmith.model import Window

_LOAD_IDS_IN_ARROW: ContextVar[bool] = ContextVar("loadsmith_load_ids_in_arrow", default=False)


#: Says of the resources of an extract which are left as they are though they got no row.
_LEFT_ALONE: ContextVar[Callable[[Iterable[str]], Iterable[str]] | None] = ContextVar(
    "loadsmith_left_alone", default=None
)


@contextlib.contextmanager
def window_in_dlt(window: Window | None) -> Iterator[None]:
    """Bound every incremental that left the choice open to `window`, for the block."""
    if window is None:
        yield
        return
    context = TimeIntervalContext(
        interval=(window.start, window.end), allow_external_schedulers=True
    )
    with Container().injectable_context(context):
        yield


@contextlib.contextmanager
def load_ids_in_arrow(pipeline: Any) -> Iterator[None]:
    """Give Arrow tables a `_dlt_load_id`, for the block, as rows have it: without, none is undone.

    dlt's setting `normalize.parquet_normalizer.add_dlt_load_id` wins. A table that was made
    without the column stays so, for it is not null and could not be added.
    """
    tables = [
        table
        for name in pipeline.schemas.list_schemas()
        for table in pipeline.schemas[name].data_tables()
        if not table.get("parent")
    ]
    if all("_dlt_load_id" in table["columns"] for table in tables):
        token = _LOAD_IDS_IN_ARROW.set(True)
        try:
            yield
        finally:
            _LOAD_IDS_IN_ARROW.reset(token)
    else:
        yield


def _arrow_configuration(_extractor: ArrowExtractor) -> ItemsNormalizerConfiguration:
    return resolve_configuration(
        ItemsNormalizerConfiguration(add_dlt_load_id=_LOAD_IDS_IN_ARROW.get()),
        sections=(known_sections.NORMALIZE, "parquet_normalizer"),
    )


# dlt makes its extractors itself, and asks nobody which.
ArrowExtractor._retrieve_normalize_config = _arrow_configuration  # type: ignore[assignment,method-assign]  # dlt has no hook


@contextlib.contextmanager
def left_alone(decide: Callable[[Iterable[str]], Iterable[str]]) -> Iterator[None]:
    """Ask `decide`, in the block, at the end of each extract and before it counts for anything.

    It gets the names of the resources of the extract and returns those whose tables dlt must not
    empty for want of rows; what it raises ends the extract.
    """
    token = _LEFT_ALONE.set(decide)
    try:
        yield
    finally:
        _LEFT_ALONE.reset(token)


_handle_all_empty_tables = Extract._handle_empty_tables


def _handle_empty_tables(extract: Extract, source: Any, extractors: Any) -> None:
    decide = _LEFT_ALONE.get()
    selected = source.resources.selected
    names = list(decide(selected)) if decide else []
    for name in names:
        selected[name].selected = False
    try:
        _handle_all_empty_tables(extract, source, extractors)
    finally:
        for name in names:
            selected[name].selected = True


# dlt makes the extract of a pipeline itself, and has nothing to set for tables without rows.
Extract._handle_empty_tables = _handle_empty_tables  # type: ignore[assignment,method-assign]  # dlt has no hook
