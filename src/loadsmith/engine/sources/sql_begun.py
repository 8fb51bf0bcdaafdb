"""What earlier loads made of a table that is read now, by dlt's schema and by the destination."""

from contextlib import suppress
from typing import Any

import dlt
from dlt.common.exceptions import DltException
from dlt.common.schema import Schema
from dlt.common.schema.typing import TTableSchemaColumns
from dlt.common.schema.utils import has_table_seen_data
from dlt.destinations.insert_job_client import InsertValuesJobClient
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltResource


def current_schema() -> Schema:
    """Return the schema of the source; a new one where rows are read outside of a pipeline."""
    try:
        return dlt.current.source_schema()
    except DltException:
        return Schema("outside_of_a_pipeline")


def current_resource() -> DltResource | None:
    """Return the resource whose rows are read; None where they are read outside of a pipeline."""
    try:
        return dlt.current.resource()
    except DltException:
        return None


def stored_columns() -> TTableSchemaColumns:
    """Return the columns of the resource's table, of which earlier runs have loaded rows."""
    schema, name = current_schema(), _table_name()
    table = schema.tables.get(name) if name else None
    return table["columns"] if table is not None and has_table_seen_data(table) else {}


def columns_in_destination() -> set[str]:
    """Return the columns of the table in a database; other pipelines may have made it."""
    name = _table_name()
    with suppress(Exception):
        state: Any = dlt.current.load_package_state()
        if name is None or any(name == each["name"] for each in state.get("dropped_tables", ())):
            return set()
        pipeline: Any = dlt.current.pipeline()
        with pipeline.destination_client() as client:
            if isinstance(client, SqlJobClientBase):
                return {column.lower() for column in client.get_storage_table(name)[1]}
    return set()


def is_loaded_by_insert() -> bool:
    """Tell whether dlt's default for the destination is to insert values as SQL."""
    with suppress(DltException):
        pipeline: Any = dlt.current.pipeline()
        destination = pipeline.destination
        return destination is not None and issubclass(
            destination.client_class, InsertValuesJobClient
        )
    return False


def _table_name() -> str | None:
    resource = current_resource()
    if resource is None or not isinstance(resource.table_name, str):
        return None
    return current_schema().naming.normalize_table_identifier(resource.table_name)
