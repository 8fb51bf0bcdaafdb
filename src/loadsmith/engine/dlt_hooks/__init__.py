"""Every private or replaced name of dlt, in one room.

The other rooms use dlt's public names and what is exported here.
"""

from typing import TYPE_CHECKING, Any

from loadsmith.lazy import names_on_first_use

if TYPE_CHECKING:
    from loadsmith.engine.dlt_hooks.bounds import (
        Edge as Edge,
        WindowNumber as WindowNumber,
        WindowText as WindowText,
        WindowTime as WindowTime,
        day_at as day_at,
        number_at as number_at,
        unit_of as unit_of,
    )
    from loadsmith.engine.dlt_hooks.check import (
        check_hooks as check_hooks,
        differences as differences,
        is_proven as is_proven,
    )
    from loadsmith.engine.dlt_hooks.destinations import (
        class_of as class_of,
        global_config_of as global_config_of,
        is_destination as is_destination,
        limited_sql as limited_sql,
        schema_files as schema_files,
        state_files as state_files,
    )
    from loadsmith.engine.dlt_hooks.errors import (
        is_schema_race as is_schema_race,
        is_terminal as is_terminal,
    )
    from loadsmith.engine.dlt_hooks.extract import (
        left_alone as left_alone,
        window_in_dlt as window_in_dlt,
    )
    from loadsmith.engine.dlt_hooks.extracted import (
        FILE_BYTES as FILE_BYTES,
        prepare_writers as prepare_writers,
    )
    from loadsmith.engine.dlt_hooks.failed_jobs import failed_jobs_raise as failed_jobs_raise
    from loadsmith.engine.dlt_hooks.fence import (
        Fence as Fence,
        JobName as JobName,
        LoadStopped as LoadStopped,
        fenced as fenced,
        in_transaction as in_transaction,
        is_sql as is_sql,
        sessions_of as sessions_of,
        set_fence as set_fence,
    )
    from loadsmith.engine.dlt_hooks.hooks import HOOKS as HOOKS
    from loadsmith.engine.dlt_hooks.load import (
        files_by_table as files_by_table,
        parquet_files as parquet_files,
    )
    from loadsmith.engine.dlt_hooks.packages import (
        archive_package as archive_package,
        can_be_undone as can_be_undone,
        can_merge as can_merge,
        describe_packages as describe_packages,
        discard_pending_packages as discard_pending_packages,
        exports_schemas as exports_schemas,
        extracted_tables as extracted_tables,
        is_appended as is_appended,
        is_begun as is_begun,
        list_extracted as list_extracted,
        list_normalized as list_normalized,
        moment_of_package as moment_of_package,
        package_rows as package_rows,
        package_tables as package_tables,
        pipeline_of as pipeline_of,
        rename_pipeline as rename_pipeline,
        replace_schema as replace_schema,
        rewind_package as rewind_package,
        settle_packages as settle_packages,
        sources_of_package as sources_of_package,
    )
    from loadsmith.engine.dlt_hooks.pipeline import imports_schemas as imports_schemas
    from loadsmith.engine.dlt_hooks.postgres import ExactPostgres as ExactPostgres
    from loadsmith.engine.dlt_hooks.records import (
        NamesOfDlt as NamesOfDlt,
        RecordNormalizer as RecordNormalizer,
        has_excludes as has_excludes,
        kill_processes as kill_processes,
        own_ids_prefix as own_ids_prefix,
        replace_normalizer as replace_normalizer,
        replace_pool as replace_pool,
        room_in_buffer as room_in_buffer,
        writer_of as writer_of,
    )
    from loadsmith.engine.dlt_hooks.register import (
        Hook as Hook,
        differences_of_hook as differences_of_hook,
        names_read as names_read,
    )
    from loadsmith.engine.dlt_hooks.resolved import (
        placeholders as placeholders,
        secrets_of_load as secrets_of_load,
        used_secrets as used_secrets,
        watch_secrets as watch_secrets,
    )
    from loadsmith.engine.dlt_hooks.resources import (
        description_of as description_of,
        each_once as each_once,
        feeding as feeding,
        incremental_of as incremental_of,
        is_resource_function as is_resource_function,
        is_source_function as is_source_function,
        own_cursor as own_cursor,
        query_of as query_of,
        root_name as root_name,
        values_in as values_in,
    )
    from loadsmith.engine.dlt_hooks.trace import redact_job_files as redact_job_files
    from loadsmith.engine.dlt_hooks.whole import (
        damaged_base as damaged_base,
        damaged_in_packages as damaged_in_packages,
        is_draft as is_draft,
        refuse_to_empty as refuse_to_empty,
        tidy_packages as tidy_packages,
        wrong_kind as wrong_kind,
    )
    from loadsmith.engine.dlt_hooks.window_pages import (
        WindowIncremental as WindowIncremental,
        edge_of as edge_of,
    )

_load_name = names_on_first_use(__name__)


def __getattr__(name: str) -> Any:
    try:
        return _load_name(name)
    except (AttributeError, ImportError) as error:
        # Python asks for names such as `__path__`, and for modules of this package.
        if name.startswith("_") or f"no attribute {name!r}" in str(error):
            raise
        from loadsmith.engine.dlt_hooks.check import missing

        if instead := missing():
            raise instead from error
        raise
