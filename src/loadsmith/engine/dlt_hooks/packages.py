"""Make the pipeline of a run, and read, keep and put back its load packages."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dlt
from dlt.common.schema import Schema
from dlt.common.schema.utils import get_root_table
from dlt.common.storages.load_package import PackageStorage, ParsedLoadJobFileName
from dlt.common.versioned_state import decompress_state, json_decode_state, json_encode_state
from dlt.pipeline.abort import prepare_abort_packages
from dlt.pipeline.pipeline import Pipeline
from dlt.pipeline.state_sync import bump_pipeline_state_version_if_modified, force_state_extract

from loadsmith.engine.dlt_hooks.pipeline import LoadsmithPipeline
from loadsmith.engine.dlt_hooks.whole import FOLLOWUP_FORMATS


def pipeline_of(
    name: str, *, pipelines_dir: str | None, dataset_name: str | None, **params: Any
) -> Any:
    """Make a dlt pipeline that takes `dataset_name` as it is, whatever layout is configured."""
    if pipelines_dir:
        params["pipelines_dir"] = pipelines_dir
    if dataset_name:
        params["dataset_name"] = dataset_name
    pipeline = dlt.pipeline(pipeline_name=name, _impl_cls=LoadsmithPipeline, **params)
    # dlt's own handlers would hold back Dagster's cancellation until the step has ended.
    pipeline.config.runtime.intercept_signals = False
    if dataset_name and not pipeline.dev_mode and pipeline.dataset_name != dataset_name:
        with pipeline.managed_state():
            pipeline.dataset_name = dataset_name
    return pipeline


def rename_pipeline(working_dir: Path, name: str) -> None:
    """Give the state in a working directory another pipeline name, and have it stored anew.

    Packages in the directory keep the state that they hold under the earlier name.
    """
    path = working_dir / Pipeline.STATE_FILE
    if path.is_file():
        state: Any = json_decode_state(path.read_text(encoding="utf-8"))
        state["pipeline_name"] = name
        bump_pipeline_state_version_if_modified(state)
        force_state_extract(state)
        path.write_text(json_encode_state(state), encoding="utf-8")


def list_extracted(pipeline: Any) -> list[str]:
    """Return the load ids of packages that were extracted and not normalized."""
    return list(pipeline.list_extracted_load_packages())


def extracted_tables(pipeline: Any) -> list[str]:
    """Return the root tables that the extracted packages have records of."""
    packages = pipeline._get_normalize_storage().extracted_packages
    names = {
        job.table_name
        for load_id in list_extracted(pipeline)
        for jobs in packages.get_load_package_jobs(load_id).values()
        for job in jobs
    }
    return sorted(name for name in names if not name.startswith("_dlt_"))


def list_normalized(pipeline: Any) -> list[str]:
    """Return the load ids of packages that were normalized and not loaded."""
    return list(pipeline.list_normalized_load_packages())


def is_begun(pipeline: Any, load_id: str) -> bool:
    """Tell whether a job of a normalized package was started."""
    packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    jobs = packages.get_load_package_jobs(load_id)
    return any(jobs[state] for state in ("started_jobs", "completed_jobs", "failed_jobs"))


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
            if job.file_format in FOLLOWUP_FORMATS:
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


def exports_schemas(pipeline: Any) -> str | None:
    """Return the folder that the pipeline writes its schemas to, or None."""
    folder: str | None = pipeline._schema_storage_config.export_schema_path
    return folder or None


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
        if job.file_format not in FOLLOWUP_FORMATS
    }
    return schema, sorted(name for name in names if not name.startswith("_dlt_"))


def describe_packages(pipeline: Any) -> str:
    """Return what the packages hold that are not loaded yet, for messages."""
    found = []
    for load_id in sorted({*list_extracted(pipeline), *list_normalized(pipeline)}):
        counts: dict[str, int | None] = {}
        for path in _files_of(pipeline, load_id):
            job = ParsedLoadJobFileName.parse(path.name)
            if job.table_name.startswith("_dlt_") or job.file_format in FOLLOWUP_FORMATS:
                continue
            known, rows = counts.get(job.table_name, 0), _rows_in(path)
            counts[job.table_name] = None if known is None or rows is None else known + rows
        tables = (
            f"{name} ({'rows not counted' if rows is None else f'{rows:,} rows'})"
            for name, rows in sorted(counts.items())
        )
        found.append(f"package {load_id} with {', '.join(tables) or 'no rows'}")
    return "; ".join(found) or "no package"


def _files_of(pipeline: Any, load_id: str) -> list[Path]:
    if load_id in list_normalized(pipeline):
        packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    else:
        packages = pipeline._get_normalize_storage().extracted_packages
    folder = Path(packages.storage.make_full_path(packages.get_package_path(load_id)))
    return [
        path
        for name in ("new_jobs", "started_jobs", "completed_jobs", "failed_jobs")
        for path in sorted((folder / name).glob("*.*"))
        if path.suffix != ".exception"
    ]


def _rows_in(path: Path) -> int | None:
    """Return how many rows a file holds; None where that is not known without dlt."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return int(pyarrow.parquet.read_metadata(path).num_rows)
        if ".typed-jsonl" in path.name:
            opened: Any = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rb") as file:
                return sum(len(json.loads(line)) for line in file)
    except Exception:  # noqa: BLE001 - it may be damaged, and is named all the same
        return None
    return None


def package_rows(pipeline: Any, load_id: str, tables: Sequence[str]) -> dict[str, int | None]:
    """Return the rows by table of a normalized package; None where nobody has counted them.

    Normalize counts them. Where it did so in a process that died, Parquet files tell.
    """
    trace = pipeline.last_trace
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
    for name in packages.list_new_jobs(load_id):
        table = ParsedLoadJobFileName.parse(name).table_name
        known = counts.get(table)
        if known is not None:
            rows = _rows_in(Path(packages.storage.make_full_path(name)))
            counts[table] = None if rows is None else known + rows
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


def moment_of_package(load_id: str) -> float:
    """Return when a package was begun: dlt names it by the time."""
    try:
        return float(load_id)
    except ValueError:
        return 0.0


def sources_of_package(pipeline: Any, load_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the `sources` of the state before and after a normalized package was extracted.

    Both are empty where the package brings no state.
    """
    packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    stored = packages.get_load_package_state(load_id).get("pipeline_state")
    if stored is None:
        return {}, {}
    before: Any = None
    if packages.can_restore_pipeline_state(load_id):
        before, _ = packages.load_pipeline_state(load_id)
    return (
        dict(json_decode_state(before).get("sources", {})) if before else {},
        dict(decompress_state(stored["state"]).get("sources", {})),
    )
