"""The one place for private or version-dependent names of dlt; each was read in dlt 1.31."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import dlt
from dlt.common.configuration import known_sections, resolve_configuration
from dlt.common.configuration.container import Container
from dlt.common.destination.client import WithStateSync
from dlt.common.exceptions import TerminalException
from dlt.common.schema import Schema
from dlt.common.schema.exceptions import DataValidationError
from dlt.common.schema.utils import get_root_table
from dlt.common.storages.load_package import PackageStorage, ParsedLoadJobFileName
from dlt.extract.exceptions import (
    DltResourceException,
    PipeException,
    ResourceExtractionError,
)
from dlt.extract.extract import Extract
from dlt.extract.extractors import ArrowExtractor
from dlt.extract.incremental.context import TimeIntervalContext
from dlt.load.exceptions import LoadClientJobException
from dlt.normalize.configuration import ItemsNormalizerConfiguration
from dlt.pipeline.abort import prepare_abort_packages
from dlt.pipeline.exceptions import PipelineStepFailed

from loadsmith.engine._dlt_import import ImportingPipeline, imports_schemas
from loadsmith.engine._dlt_trace import redact_trace
from loadsmith.model import Window

__all__ = [
    "DataValidationError",
    "DltResourceException",
    "LoadClientJobException",
    "PackageStorage",
    "ParsedLoadJobFileName",
    "PipeException",
    "PipelineStepFailed",
    "ResourceExtractionError",
    "TerminalException",
    "WithStateSync",
    "archive_package",
    "can_be_undone",
    "can_merge",
    "discard_pending_packages",
    "exports_schemas",
    "imports_schemas",
    "is_appended",
    "is_schema_race",
    "is_terminal",
    "left_alone",
    "list_extracted",
    "list_normalized",
    "load_ids_in_arrow",
    "package_rows",
    "package_tables",
    "pipeline_of",
    "redact_trace",
    "replace_schema",
    "rewind_package",
    "settle_packages",
    "window_in_dlt",
]

_LOAD_IDS_IN_ARROW: ContextVar[bool] = ContextVar("loadsmith_load_ids_in_arrow", default=False)

#: Says of the resources of an extract which are left as they are though they got no row.
_LEFT_ALONE: ContextVar[Callable[[Iterable[str]], Iterable[str]] | None] = ContextVar(
    "loadsmith_left_alone", default=None
)

_FOLLOWUP_FORMATS = frozenset({"sql", "reference"})

#: What databases say when two sessions make the same schema, table or column at once.
_RACE_SIGNS = (
    "already exists",
    "file exists",
    "duplicate key value violates unique constraint",
    "duplicate column",
    "tuple concurrently updated",
    "deadlock detected",
    "could not serialize access",
    "catalog write-write conflict",
    "transactioncontext error: catalog",
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


def pipeline_of(
    name: str, *, pipelines_dir: str | None, dataset_name: str | None, **params: Any
) -> Any:
    """Make a dlt pipeline that takes `dataset_name` as it is, whatever layout is configured."""
    if pipelines_dir:
        params["pipelines_dir"] = pipelines_dir
    if dataset_name:
        params["dataset_name"] = dataset_name
    pipeline = dlt.pipeline(pipeline_name=name, _impl_cls=ImportingPipeline, **params)
    # dlt's own handlers would hold back Dagster's cancellation until the step has ended.
    pipeline.config.runtime.intercept_signals = False
    if dataset_name and not pipeline.dev_mode and pipeline.dataset_name != dataset_name:
        with pipeline.managed_state():
            pipeline.dataset_name = dataset_name
    return pipeline


def list_extracted(pipeline: Any) -> list[str]:
    """Return the load ids of packages that were extracted and not normalized."""
    return list(pipeline.list_extracted_load_packages())


def list_normalized(pipeline: Any) -> list[str]:
    """Return the load ids of packages that were normalized and not loaded."""
    return list(pipeline.list_normalized_load_packages())


def rewind_package(pipeline: Any, load_id: str) -> None:
    """Put a normalized package back to where it was before its first job was started."""
    packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    storage = packages.storage
    for name in packages.list_pending_transitions(load_id):
        packages.clear_pending_transition(load_id, name)
    for folder in ("started_jobs", "completed_jobs", "failed_jobs", "new_jobs"):
        path = packages.get_job_state_folder_path(load_id, folder)
        for name in storage.list_folder_files(path, to_root=False):
            job_path = packages.get_job_file_path(load_id, folder, name)
            if name.endswith(".exception"):
                storage.delete(job_path)
                continue
            job = ParsedLoadJobFileName.parse(name)
            if job.file_format in _FOLLOWUP_FORMATS:
                storage.delete(job_path)
                continue
            fresh = job._replace(retry_count=0).file_name()
            target = packages.get_job_file_path(load_id, "new_jobs", fresh)
            if job_path != target:
                storage.atomic_rename(job_path, target)
    applied = f"{load_id}/{PackageStorage.APPLIED_SCHEMA_UPDATES_FILE_NAME}"
    if storage.has_file(applied):
        # An empty update is enough: dlt compares the package's schema with the destination's
        # tables again when it initializes them.
        storage.save(f"{load_id}/{PackageStorage.SCHEMA_UPDATES_FILE_NAME}", storage.load(applied))
        storage.delete(applied)


def discard_pending_packages(pipeline: Any) -> list[str]:
    """Delete all pending packages and put state and schemas back to where the oldest began."""
    load_storage = pipeline._get_load_storage()
    normalize_storage = pipeline._get_normalize_storage()
    plan = prepare_abort_packages(load_storage, normalize_storage)
    if plan is None:
        return []
    gone = [*plan["packages_to_delete"], *plan["extracted_packages_to_delete"]]
    aborted = plan["package_to_abort"]
    if aborted is not None:
        # Nothing of it is in the destination any more, so it needs no record there.
        plan["packages_to_delete"].append(aborted["load_id"])
        gone.append(aborted["load_id"])
        plan["package_to_abort"] = None
    pipeline._apply_abort_plan(plan)
    return sorted(gone)


def settle_packages(pipeline: Any) -> None:
    """Finish what a run that died did not: a package is either extracted or normalized.

    dlt normalizes into a new folder, then deletes the extracted one, and stores schemas last of
    all. Without them normalize would not know how new tables are to be written.
    """
    extracted, normalized = list_extracted(pipeline), list_normalized(pipeline)
    for load_id in {*extracted, *normalized}:
        if load_id in normalized:
            packages: PackageStorage = pipeline._get_load_storage().normalized_packages
        else:
            packages = pipeline._get_normalize_storage().extracted_packages
        if load_id in extracted and load_id in normalized:
            pipeline._get_normalize_storage().extracted_packages.delete_package(load_id)
        schema = packages.load_schema(load_id)
        stored = pipeline.schemas.get(schema.name)
        if stored is None or stored.version < schema.version:
            with pipeline.managed_state():
                pipeline._inject_schema(schema)


def exports_schemas(pipeline: Any) -> bool:
    """Tell whether the pipeline writes its schemas to a folder of the user's."""
    return bool(pipeline._schema_storage_config.export_schema_path)


def replace_schema(pipeline: Any, stored: Any) -> None:
    """Put a schema, as dlt stores it, in the place of the one of that name."""
    with pipeline.managed_state():
        pipeline._inject_schema(Schema.from_dict(stored))


def archive_package(pipeline: Any, load_id: str) -> None:
    """Move a package that the destination has already counted as loaded to the loaded ones."""
    pipeline._get_load_storage().complete_load_package(load_id, aborted=False)


def package_tables(pipeline: Any, load_id: str) -> tuple[Any, list[str]]:
    """Return the schema of a normalized package and the data tables that it has files for."""
    packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    schema = packages.load_schema(load_id)
    names = {
        job.table_name
        for jobs in packages.get_load_package_jobs(load_id).values()
        for job in jobs
        if job.file_format not in _FOLLOWUP_FORMATS
    }
    return schema, sorted(name for name in names if not name.startswith("_dlt_"))


def package_rows(pipeline: Any, load_id: str, tables: Sequence[str]) -> dict[str, int | None]:
    """Return the rows by table of a normalized package; None where nobody has counted them.

    Normalize counts them. Where it did so in a process that died, Parquet files tell.
    """
    for trace in (pipeline._last_trace, pipeline.last_trace):
        info = trace.last_normalize_info if trace else None
        if info is not None and load_id in info.metrics:
            counts: dict[str, int | None] = dict.fromkeys(tables, 0)
            for metrics in info.metrics[load_id]:
                for table, counted in metrics["table_metrics"].items():
                    if table in counts:
                        counts[table] = (counts[table] or 0) + counted.items_count
            return counts
    return _rows_in_files(pipeline, load_id, tables)


def _rows_in_files(pipeline: Any, load_id: str, tables: Sequence[str]) -> dict[str, int | None]:
    packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    counts: dict[str, int | None] = dict.fromkeys(tables, 0)
    for path in packages.list_new_jobs(load_id):
        job = ParsedLoadJobFileName.parse(path)
        known = counts.get(job.table_name)
        if known is None:
            continue
        if job.file_format != "parquet":
            counts[job.table_name] = None
            continue
        import pyarrow.parquet

        metadata = pyarrow.parquet.read_metadata(packages.storage.make_full_path(path))
        counts[job.table_name] = known + metadata.num_rows
    return counts


def can_merge(pipeline: Any, table_format: str | None) -> bool:
    """Tell whether the destination merges; where it cannot, dlt appends (files, unless Delta)."""
    capabilities = pipeline.destination.capabilities()
    strategies = capabilities.supported_merge_strategies or ()
    if strategies and capabilities.merge_strategies_selector is not None:
        table = {"table_format": table_format} if table_format else {}
        strategies = capabilities.merge_strategies_selector(strategies, table_schema=table)
    return bool(strategies)


def is_appended(pipeline: Any, schema: Any, table: str) -> bool:
    """Tell whether a package adds its rows to what is there, so that a dead one has to be undone.

    Replaced tables are emptied first. Merged ones are matched by key in one transaction for a
    whole chain of tables; without any key dlt appends.
    """
    root = get_root_table(schema.tables, table)
    disposition = root.get("write_disposition") or "append"
    if disposition == "replace":
        return False
    if disposition == "merge" and can_merge(pipeline, root.get("table_format")):
        return (
            not any(
                column.get("primary_key") or column.get("merge_key") or column.get("unique")
                for column in root["columns"].values()
                if not (column["name"] or "").startswith("_dlt_")
            )
            and root.get("x-merge-strategy") != "scd2"
        )
    return True


def can_be_undone(schema: Any, table: str) -> bool:
    """Tell whether rows of a table say which package they came with, or whose root row does."""
    return "_dlt_load_id" in get_root_table(schema.tables, table)["columns"]


def is_terminal(error: BaseException) -> bool:
    """Tell whether dlt says that trying again cannot help."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, (DataValidationError, LoadClientJobException)):
            return isinstance(current, (DataValidationError, TerminalException))
        inner = getattr(current, "exception", None)
        current = inner if isinstance(inner, BaseException) else current.__cause__
    return False


def is_schema_race(error: BaseException) -> bool:
    """Tell whether two loads changed the destination's schema at the same moment."""
    return any(sign in str(error).lower() for sign in _RACE_SIGNS)
