"""The dlt pipeline that loadsmith runs: the steps that it prepares, and proof that dlt takes them.

dlt makes the objects of a step itself. This pipeline receives those of extract; load asks the
destination for clients, which `fence` makes.
"""

from collections.abc import Callable
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.pipeline import StateInjectableContext
from dlt.common.schema import Schema
from dlt.common.schema.utils import normalize_schema_name
from dlt.extract.extract import Extract
from dlt.pipeline.pipeline import Pipeline

from loadsmith.engine.dlt_hooks.check import not_called
from loadsmith.engine.dlt_hooks.extract import WatchedExtract, load_ids_in_arrow
from loadsmith.engine.dlt_hooks.extracted import extract_quickly
from loadsmith.engine.dlt_hooks.trace import asked_for_traces
from loadsmith.engine.dlt_hooks.whole import list_normalized_files
from loadsmith.engine.schema_files import ImportSchemas


class LoadsmithPipeline(Pipeline):
    """dlt's pipeline, prepared for what loadsmith promises."""

    _extract_step: WatchedExtract | None = None

    #: Changes the state as a part of what a package sets, before its resources are read.
    change_state: Callable[[Any], None] = staticmethod(lambda _state: None)

    def _configure(self, *args: Any, **kwargs: Any) -> None:
        super()._configure(*args, **kwargs)
        storage: Any = self._schema_storage
        folder, kind = storage.config.import_schema_path, storage.config.external_schema_format
        if folder and kind in ("yaml", "json"):
            schemas = ImportSchemas(folder)
            # Our reader names file and line of a mistake. dlt has no setting for the reader.
            storage._load_import_schema = lambda name: schemas.read(
                storage._file_name_in_store(name, kind), name
            )

    def _get_schema_or_create(self, schema_name: str | None = None) -> Schema:
        if schema_name or self.default_schema_name:
            return super()._get_schema_or_create(schema_name)
        # dlt takes names of pipelines that no schema can have, and asks for this schema only when
        # there is one. The ledger is asked before that.
        with self._maybe_destination_capabilities():
            return Schema(normalize_schema_name(self.pipeline_name))

    def extract(self, *args: Any, **kwargs: Any) -> Any:
        """Extract as dlt does.

        Raises:
            RunError: dlt did not go through the steps that loadsmith prepares.
        """
        self._extract_step = None
        with asked_for_traces(self):
            info = super().extract(*args, **kwargs)
        if self._extract_step is None:
            raise not_called("extract")
        return info

    def _extract_source(self, extract: Extract, source: Any, *args: Any, **kwargs: Any) -> Any:
        if type(extract) is Extract:
            extract.__class__ = WatchedExtract
            extract_quickly(extract.extract_storage.item_storages["object"])
        if not isinstance(extract, WatchedExtract):
            raise not_called("extract")
        self._extract_step = extract
        extract.has_looked = False
        with load_ids_in_arrow(self, extract, source.schema.naming):
            load_id = super()._extract_source(extract, source, *args, **kwargs)
        # dlt extracts its own state in a package of its own where no state can be changed any more.
        if StateInjectableContext in Container():
            self.change_state(Container()[StateInjectableContext].state)
        if not extract.has_looked:
            raise not_called("extract")
        return load_id

    def normalize(self, *args: Any, **kwargs: Any) -> Any:
        """Normalize as dlt does, with a list of the files of each package."""
        list_normalized_files()
        with asked_for_traces(self):
            return super().normalize(*args, **kwargs)

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Load as dlt does.

        Raises:
            RunError: dlt did not go through the steps that loadsmith watches.
        """
        waiting = set(self.list_normalized_load_packages())
        with asked_for_traces(self):
            info = super().load(*args, **kwargs)
        fence = getattr(self.destination, "fence", None)
        loaded = waiting.difference(self.list_normalized_load_packages())
        if fence is not None and not loaded <= fence.marked:
            raise not_called("load")
        return info


def imports_schemas(pipeline: Any) -> str | None:
    """Return the folder that the pipeline imports schemas from, or None."""
    folder: str | None = pipeline._schema_storage_config.import_schema_path
    return folder or None
