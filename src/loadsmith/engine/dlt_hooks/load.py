"""Moments of dlt's load at which the destination can be asked whether an answer of it was lost.

dlt has no hook for them; each name was read in dlt 1.31.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from dlt.common.destination.exceptions import DestinationTransientException
from dlt.common.storages.load_package import PackageStorage, ParsedLoadJobFileName
from dlt.load.load import Load

#: Times that a package is marked as loaded until its mark is there.
_TRIES = 3


class LoadWatch(Protocol):
    """Who is asked; what it raises ends the load before anything else is done."""

    def before_repeat(self, load_id: str, job: ParsedLoadJobFileName) -> None:
        """Take notice that a job that did not end well is about to be done again."""

    def before_followup(self, load_id: str, table: str) -> None:
        """Take notice that what was loaded for a table and its nested ones is about to be moved."""

    def before_commit(self, load_id: str) -> None:
        """Take notice that a package is about to be marked as loaded."""

    def is_committed(self, load_id: str) -> bool:
        """Tell whether the destination has the mark of a package."""


_WATCH: ContextVar[LoadWatch | None] = ContextVar("loadsmith_load_watch", default=None)


@contextlib.contextmanager
def watched_load(watch: LoadWatch | None) -> Iterator[None]:
    """Ask `watch` in the loads of the block."""
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


def jobs_of(pipeline: Any, load_id: str) -> Mapping[Any, list[ParsedLoadJobFileName]]:
    """Return the jobs of a normalized package by the name of the folder that they are in."""
    packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    return packages.get_load_package_jobs(load_id)


def parquet_files(pipeline: Any, load_id: str, tables: Collection[str]) -> Iterator[str]:
    """Give the paths of the parquet files of a normalized package that hold rows of the tables."""
    packages: PackageStorage = pipeline._get_load_storage().normalized_packages
    for job in jobs_of(pipeline, load_id)["new_jobs"]:
        if job.file_format == "parquet" and job.table_name in tables:
            path = packages.get_job_file_path(load_id, "new_jobs", job.file_name())
            yield packages.storage.make_full_path(path)


def rows_by_job(pipeline: Any, load_id: str) -> Mapping[str, int]:
    """Return the rows of the files of a package by job id, as normalize counted them.

    Empty where that was done by a process that is gone.
    """
    for trace in (pipeline._last_trace, pipeline.last_trace):
        info = trace.last_normalize_info if trace else None
        if info is not None and load_id in info.metrics:
            return {
                job: counted.items_count
                for metrics in info.metrics[load_id]
                for job, counted in metrics["job_metrics"].items()
            }
    return {}


_submit_job = Load.submit_job
_create_followup_jobs = Load.create_followup_jobs
_complete_package = Load.complete_package


def _submit_watched(
    load: Load, file_path: str, load_id: str, schema: Any, restore: bool = False
) -> Any:
    watch = _WATCH.get()
    if watch is not None:
        job = ParsedLoadJobFileName.parse(file_path)
        # A job that is restored was begun, and nobody noted its end.
        if job.retry_count or restore:
            watch.before_repeat(load_id, job)
    return _submit_job(load, file_path, load_id, schema, restore)


def _create_watched_followup_jobs(
    load: Load, load_id: str, state: Any, starting_job: Any, schema: Any
) -> Any:
    created = _create_followup_jobs(load, load_id, state, starting_job, schema)
    watch = _WATCH.get()
    _, of_chain, _ = created
    if watch is not None and of_chain:
        watch.before_followup(load_id, starting_job.job_file_info().table_name)
    return created


def _complete_watched(load: Load, load_id: str, schema: Any, aborted: bool = False) -> None:
    watch = _WATCH.get()
    if watch is None or aborted:
        _complete_package(load, load_id, schema, aborted)
        return
    watch.before_commit(load_id)
    for left in reversed(range(_TRIES)):
        try:
            _complete_package(load, load_id, schema, aborted)
        except DestinationTransientException:
            if not left:
                raise
            if watch.is_committed(load_id):
                with _without_mark(load):
                    _complete_package(load, load_id, schema, aborted)
                return
        else:
            return


@contextlib.contextmanager
def _without_mark(load: Load) -> Iterator[None]:
    """Let `load` complete packages whose mark is in the destination, for the block."""
    client_of = load.get_destination_client

    def marked_client(schema: Any) -> Any:
        client: Any = client_of(schema)
        client.complete_load = _leave_mark
        return client

    load.get_destination_client = marked_client  # type: ignore[method-assign]  # dlt has no hook
    try:
        yield
    finally:
        del load.get_destination_client


def _leave_mark(load_id: str) -> None:
    """Do nothing in place of `complete_load`: the mark of the package is there."""


# dlt makes its loader itself, and asks nobody which.
Load.submit_job = _submit_watched  # type: ignore[assignment,method-assign]
Load.create_followup_jobs = _create_watched_followup_jobs  # type: ignore[assignment,method-assign]
Load.complete_package = _complete_watched  # type: ignore[assignment,method-assign]
