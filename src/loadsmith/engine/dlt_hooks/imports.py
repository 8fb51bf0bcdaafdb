"""A dlt pipeline whose imported schemas our reader reads, so that errors name file and line."""

from typing import Any

from dlt.pipeline.pipeline import Pipeline

from loadsmith.engine.schema_files import ImportSchemas


class ImportingPipeline(Pipeline):
    """dlt's pipeline; without an `import_schema_path` it is no other."""

    def _configure(self, *args: Any, **kwargs: Any) -> None:
        super()._configure(*args, **kwargs)
        storage: Any = self._schema_storage
        folder, kind = storage.config.import_schema_path, storage.config.external_schema_format
        if folder and kind in ("yaml", "json"):
            schemas = ImportSchemas(folder)
            # dlt has nothing to set for how it reads them, and does so at once.
            storage._load_import_schema = lambda name: schemas.read(
                storage._file_name_in_store(name, kind), name
            )


def imports_schemas(pipeline: Any) -> str | None:
    """Return the folder that the pipeline imports schemas from, or None."""
    folder: str | None = pipeline._schema_storage_config.import_schema_path
    return folder or None
