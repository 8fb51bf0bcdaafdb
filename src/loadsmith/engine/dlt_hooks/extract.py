"""Change what dlt does when it extracts: windows, load ids in Arrow tables, tables without rows."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from dlt.common.configuration import known_sections, resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers.provider import ConfigProvider
from dlt.extract.extract import Extract
from dlt.extract.incremental.context import TimeIntervalContext
from dlt.normalize.configuration import ItemsNormalizerConfiguration

from loadsmith.engine.dlt_hooks.check import not_called
from loadsmith.engine.dlt_hooks.providers import provider_in_block
from loadsmith.engine.dlt_hooks.whole import list_files
from loadsmith.model import Window

#: Decides which resources of an extract keep their tables as they are though they yield no row.
_LEFT_ALONE: ContextVar[Callable[[Iterable[str]], Iterable[str]] | None] = ContextVar(
    "loadsmith_left_alone", default=None
)

#: The settings of dlt for Arrow tables.
_ARROW_SECTIONS = (known_sections.NORMALIZE, "parquet_normalizer")
_LOAD_ID_KEY = "add_dlt_load_id"


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


class _Asked:
    """Counts how often dlt asks for a default."""

    times = 0


_LOAD_IDS: ContextVar[_Asked | None] = ContextVar("loadsmith_load_ids_in_arrow", default=None)


class _Defaults(ConfigProvider):
    """Answers where no setting of the user does: dlt asks its providers in their order."""

    name = "loadsmith"
    supports_secrets = False
    supports_sections = True

    def get_value(
        self, key: str, hint: type[Any], pipeline_name: str | None, *sections: str
    ) -> tuple[Any, str]:
        """Return True for the load ids of Arrow tables, inside of the block that asks for them."""
        # A resource that is made outside of a module has no section.
        place = ".".join((*filter(None, sections), key))
        asked = _LOAD_IDS.get()
        if asked is None or pipeline_name or (*sections, key) != (*_ARROW_SECTIONS, _LOAD_ID_KEY):
            return None, place
        asked.times += 1
        return True, place


@contextlib.contextmanager
def load_ids_in_arrow(pipeline: Any, extract: Extract, naming: Any) -> Iterator[None]:
    """Add `_dlt_load_id` to Arrow tables in the block; without it a dead load cannot be undone.

    dlt's setting `normalize.parquet_normalizer.add_dlt_load_id` wins. A table that was made
    without the column stays so, for it is not null and could not be added.

    Raises:
        RunError: dlt did not ask for the setting in the block, or did not add the column.
    """
    tables = [
        table
        for name in pipeline.schemas.list_schemas()
        for table in pipeline.schemas[name].data_tables()
        if not table.get("parent")
    ]
    if not all("_dlt_load_id" in table["columns"] for table in tables):
        yield
        return
    asked = _Asked()
    token = _LOAD_IDS.set(asked)
    try:
        with provider_in_block(_Defaults()):
            resolve_configuration(ItemsNormalizerConfiguration(), sections=_ARROW_SECTIONS)
            is_default = asked.times > 0
            with _checked_load_ids(extract, naming) if is_default else contextlib.nullcontext():
                yield
    finally:
        _LOAD_IDS.reset(token)
    if is_default and asked.times == 1:
        raise not_called("load ids")


@contextlib.contextmanager
def _checked_load_ids(extract: Extract, naming: Any) -> Iterator[None]:
    """Check that each Arrow table which dlt writes in the block has a load id."""
    storage: Any = extract.extract_storage.item_storages["arrow"]
    write = storage.write_data_item
    name = naming.normalize_identifier("_dlt_load_id")

    def write_checked(load_id: str, schema: str, table: str, pages: Any, columns: Any) -> Any:
        if name not in columns or any(name not in page.schema.names for page in pages):
            raise not_called("load ids")
        return write(load_id, schema, table, pages, columns)

    storage.write_data_item = write_checked
    try:
        yield
    finally:
        del storage.write_data_item


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


class WatchedExtract(Extract):
    """dlt's extract, which asks about resources without rows before it empties their tables.

    Attributes:
        has_looked: Whether dlt came to the point at which it empties tables.
    """

    has_looked = False

    def commit_packages(self) -> None:
        """Commit as dlt does, with a list of the files of each package."""
        packages = self.extract_storage.new_packages
        for load_id, metrics in self._load_id_metrics.items():
            # dlt does so in a moment, too; the schema is one of the files.
            packages.save_schema(load_id, self.schema_storage[metrics[0]["schema_name"]])
            list_files(packages, load_id)
        super().commit_packages()

    def _handle_empty_tables(self, source: Any, extractors: Any) -> None:
        self.has_looked = True
        decide = _LEFT_ALONE.get()
        selected = source.resources.selected
        names = list(decide(selected)) if decide else []
        for name in names:
            selected[name].selected = False
        try:
            super()._handle_empty_tables(source, extractors)
        finally:
            for name in names:
                selected[name].selected = True
