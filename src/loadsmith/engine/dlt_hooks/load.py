"""Moments of dlt's load at which the destination can be asked whether an answer of it was lost."""

import contextlib
import importlib
from collections.abc import Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
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
    trace = pipeline.last_trace
    info = trace.last_normalize_info if trace else None
    return {
        job: counted.items_count
        for metrics in (info.metrics.get(load_id, ()) if info else ())
        for job, counted in metrics["job_metrics"].items()
    }


@dataclass
class Seen:
    """The packages that a load came to the watched steps with.

    Attributes:
        submitted: Packages of which a job was submitted.
        completed: Packages that were completed.
    """

    submitted: set[str] = field(default_factory=set)
    completed: set[str] = field(default_factory=set)


_SEEN: ContextVar[Seen | None] = ContextVar("loadsmith_seen_in_load", default=None)


@contextlib.contextmanager
def seen_in_load() -> Iterator[Seen]:
    """Note the packages of the loads in the block."""
    seen = Seen()
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


class WatchedLoad(Load):
    """dlt's load, which asks the watch of the block that it runs in."""

    _is_marked = False

    def submit_job(self, file_path: str, load_id: str, schema: Any, restore: bool = False) -> Any:
        """Submit a job, after a look where it was submitted before."""
        if (seen := _SEEN.get()) is not None:
            seen.submitted.add(load_id)
        watch = _WATCH.get()
        if watch is not None:
            job = ParsedLoadJobFileName.parse(file_path)
            # A job that is restored was begun, and nobody noted its end.
            if job.retry_count or restore:
                watch.before_repeat(load_id, job)
        return super().submit_job(file_path, load_id, schema, restore)

    def create_followup_jobs(self, load_id: str, state: Any, starting_job: Any, schema: Any) -> Any:
        """Create the jobs that follow a job, with a look before staged rows are moved."""
        created = super().create_followup_jobs(load_id, state, starting_job, schema)
        watch = _WATCH.get()
        _, of_chain, _ = created
        if watch is not None and of_chain:
            watch.before_followup(load_id, starting_job.job_file_info().table_name)
        return created

    def complete_package(self, load_id: str, schema: Any, aborted: bool = False) -> None:
        """Mark a package as loaded, once, after a look at its rows."""
        if (seen := _SEEN.get()) is not None:
            seen.completed.add(load_id)
        watch = _WATCH.get()
        if watch is None or aborted:
            super().complete_package(load_id, schema, aborted)
            return
        watch.before_commit(load_id)
        for left in reversed(range(_TRIES)):
            try:
                super().complete_package(load_id, schema, aborted)
            except DestinationTransientException:
                if not left:
                    raise
                if watch.is_committed(load_id):
                    self._is_marked = True
                    try:
                        super().complete_package(load_id, schema, aborted)
                    finally:
                        self._is_marked = False
                    return
            else:
                return

    def get_destination_client(self, schema: Any) -> Any:
        """Return a client, which leaves the mark of a package as it is where it is there."""
        client: Any = super().get_destination_client(schema)
        if self._is_marked:
            client.complete_load = _leave_mark
        return client


def _leave_mark(load_id: str) -> None:
    """Do nothing in place of `complete_load`: the mark of the package is there."""


# dlt's pipeline makes its load itself. `dlt.pipeline.pipeline` as an attribute is a function.
_module: Any = importlib.import_module("dlt.pipeline.pipeline")
assert _module.Load is Load
_module.Load = WatchedLoad
