"""The files of a package that is to be loaded; each name was read in dlt 1.31."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from dlt.common.storages.load_package import PackageStorage


def parquet_files(pipeline: Any, load_id: str, tables: Collection[str]) -> Iterator[str]:
    """Give the paths of the parquet files of a normalized package that hold rows of the tables."""
    for table, paths in files_by_table(pipeline, load_id).items():
        if table in tables:
            yield from (str(path) for path in paths if path.suffix == ".parquet")


def files_by_table(pipeline: Any, load_id: str) -> dict[str, list[Path]]:
    """Return the files of a normalized package by data table."""
    packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    files: dict[str, list[Path]] = {}
    for job in packages.get_load_package_jobs(load_id)["new_jobs"]:
        if not job.table_name.startswith("_dlt_"):
            path = packages.get_job_file_path(load_id, "new_jobs", job.file_name())
            full = Path(packages.storage.make_full_path(path))
            files.setdefault(job.table_name, []).append(full)
    return files
