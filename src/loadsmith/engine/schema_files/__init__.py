"""Read, write and compare dlt's schema files; errors name line and column."""

from loadsmith.engine.schema_files.file import (
    SchemaFile as SchemaFile,
    declared_tables as declared_tables,
    read_schema_file as read_schema_file,
    tables_of_schema as tables_of_schema,
    update_schema_file as update_schema_file,
    write_whole as write_whole,
)
from loadsmith.engine.schema_files.imported import (
    ImportSchemas as ImportSchemas,
    naming_schema_beside as naming_schema_beside,
)
from loadsmith.engine.schema_files.tables import (
    Types as Types,
    changes_between as changes_between,
    column_change as column_change,
    column_snapshot as column_snapshot,
    column_snapshots as column_snapshots,
    column_types as column_types,
    tables_by_resource as tables_by_resource,
    types_of as types_of,
    without_variant as without_variant,
)
from loadsmith.engine.schema_files.text import decode as decode, parse_schema as parse_schema
