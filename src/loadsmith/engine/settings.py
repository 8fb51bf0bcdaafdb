"""The choices that the engine makes for speed; dlt's own settings go before each of them."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadsmith.engine._extracted import FILE_BYTES
from loadsmith.engine.destinations import DestinationTraits, own_credentials
from loadsmith.model import LoadDefinition, RunOptions, SourceReference

#: Bytes of extracted files, compressed, that processes have to take over from the one that has
#: the most to do. These take 3 to 7 s to normalize, and a process 1.3 s to start.
PARALLEL_NORMALIZE_BYTES = 4_000_000

#: The same by column, which takes a fifth of the time.
PARALLEL_COLUMN_BYTES = 20_000_000


@dataclass(frozen=True)
class Setting:
    """A choice, its value, and who made it: `loadsmith`, `dlt` or `you`."""

    name: str
    value: str
    origin: str


def prefer_fastest_file_format(destination: Any, traits: DestinationTraits) -> None:
    """Make the format that the destination loads fastest its default.

    A resource's own `file_format`, `loader_file_format` and dlt's settings go before it.
    """
    params = destination.caps_params
    if traits.loader_file_format and "preferred_loader_file_format" not in params:
        if configured_file_format(destination.destination_name):
            return
        params["preferred_loader_file_format"] = traits.loader_file_format


def configured_file_format(destination_name: str) -> str | None:
    """Return the file format that the user's own dlt configuration asks for, or None."""
    import dlt

    for key in (
        f"destination.{destination_name}.loader_file_format",
        f"destination.{destination_name}.preferred_loader_file_format",
        "destination.preferred_loader_file_format",
        "normalize.loader_file_format",
        "loader_file_format",
    ):
        value: Any = dlt.config.get(key)
        if value:
            return str(value)
    return None


def normalize_workers(pipeline: Any, *, by_column: bool) -> int:
    """Return how many processes normalize: one, or one for each core where that is worth it.

    A file is normalized by one process, and what a schema contract discards is counted in this one
    alone. `NORMALIZE__WORKERS` and dlt's `config.toml` win; dlt applies them over this number.
    """
    cores = os.cpu_count() or 1
    if cores == 1 or _may_discard(pipeline):
        return 1
    worth = _worth_sharing(by_column)
    extracted = Path(pipeline.working_dir, "normalize", "extracted")
    wanted = 1
    for package in extracted.glob("*/new_jobs"):
        sizes = {path.name: path.stat().st_size for path in package.glob("*.typed-jsonl*")}
        # dlt gives each process as many files, and the small one of its own state is among them.
        most, workers = min((_most_bytes(sizes, count), count) for count in range(1, cores + 2))
        if sum(sizes.values()) - most >= worth:
            wanted = max(wanted, workers)
    return wanted


def _worth_sharing(by_column: bool) -> int:
    return PARALLEL_COLUMN_BYTES if by_column else PARALLEL_NORMALIZE_BYTES


def _may_discard(pipeline: Any) -> bool:
    """Tell whether a schema contract leaves out rows or values."""
    return any(
        "discard" in str(settings.get("schema_contract"))
        for name in pipeline.schemas.list_schemas()
        for schema in (pipeline.schemas[name],)
        for settings in (schema.settings, *schema.tables.values())
    )


def _most_bytes(sizes: Mapping[str, int], workers: int) -> int:
    """Return the bytes of the process that has the most, where dlt shares out files."""
    from dlt.normalize.worker import group_worker_files

    groups = group_worker_files(list(sizes), workers)
    return max((sum(sizes[name] for name in group) for group in groups), default=0)


def release_memory() -> None:
    """Give the memory that normalize has freed back to the system, before a load takes as much."""
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        for pool in (pa.default_memory_pool(), pa.system_memory_pool()):
            pool.release_unused()


@contextlib.contextmanager
def old_objects_set_aside() -> Iterator[None]:
    """Let the garbage collector look at the objects of the block alone.

    The modules of dlt, Dagster and PyArrow are some 500,000 objects, which each full collection
    would walk through while a load makes millions. A process that has set objects aside
    itself is left as it is.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def effective_settings(definition: LoadDefinition) -> list[Setting]:
    """List what a run of `definition` would use, and who chose it. Needs dlt, no connection."""
    import dlt

    from loadsmith.engine.destinations import make_destination, traits

    found: list[Setting] = []
    options = definition.options.params
    by_column = definition.options.normalizer == "arrow"
    if definition.destination is not None:
        destination = make_destination(definition.destination)
        found_traits = traits(destination)
        own = options.get("loader_file_format")
        configured = configured_file_format(definition.destination.name)
        if own or configured:
            found.append(Setting("loader_file_format", str(own or configured), "you"))
        else:
            found.append(
                Setting("loader_file_format", str(found_traits.loader_file_format), "loadsmith")
            )
        found.append(Setting("single_writer", str(found_traits.single_writer).lower(), "dlt"))
        if found_traits.destination_type == "duckdb":
            found.append(_memory_limit(destination))
    for name, ours in (
        (
            "normalize.workers",
            f"1, or one a core where others take {_worth_sharing(by_column):,} bytes",
        ),
        ("data_writer.disable_compression", "false, extracted files at gzip's level 1"),
        ("data_writer.file_max_bytes", f"{FILE_BYTES:,} for extracted records"),
        ("load.workers", None),
        ("data_writer.file_max_items", None),
        ("data_writer.buffer_max_items", None),
    ):
        configured = dlt.config.get(name)
        if configured is not None:
            found.append(Setting(name, str(configured), "you"))
        elif ours is not None:
            found.append(Setting(name, ours, "loadsmith"))
        else:
            found.append(Setting(name, "dlt's default", "dlt"))
    if isinstance(definition.source, SourceReference):
        found += _sql_settings(definition.source)
    defaults = RunOptions()
    for name in ("normalizer", "on_error"):
        chosen = getattr(definition.options, name)
        origin = "loadsmith" if chosen == getattr(defaults, name) else "you"
        found.append(Setting(name, chosen, origin))
    return found


def _sql_settings(source: SourceReference) -> list[Setting]:
    """List how a database is read, where the source is one; nothing is asked of it."""
    from loadsmith.engine.sql_sources import configured_for_sql, is_sql_database, with_defaults

    if not is_sql_database(source):
        return []
    params = with_defaults(source)
    page = (params.get("backend_kwargs") or {}).get("batch_size")
    found = []
    for name, ours in (("backend", params.get("backend")), ("chunk_size", page)):
        own = source.params.get(name) or configured_for_sql(name)
        value, origin = (own, "you") if own else (ours, "loadsmith") if ours else (None, "dlt")
        told = "dlt's default" if value is None else str(value)
        found.append(Setting(f"sql_database.{name}", told, origin))
    return found


def _memory_limit(destination: Any) -> Setting:
    from loadsmith.engine._duckdb import default_limit, limit_of_user

    name = "duckdb.memory_limit"
    own = limit_of_user(own_credentials(destination))
    return Setting(name, own, "you") if own else Setting(name, f"{default_limit():,}", "loadsmith")
