"""Decide how many processes normalize the records of a run."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Bytes of compressed extracted files that other processes must take over from the busiest process.
#: They take 3 to 7 s to normalize; a process takes 1.3 s to start.
PARALLEL_NORMALIZE_BYTES = 4_000_000

#: The same for normalizing by column, which takes a fifth of the time.
PARALLEL_COLUMN_BYTES = 20_000_000


def normalize_workers(pipeline: Any, *, by_column: bool) -> int:
    """Return how many processes normalize: a single process, or one per core if that pays off.

    A process normalizes whole files. dlt lets `NORMALIZE__WORKERS` and `config.toml` win over this
    number.
    """
    cores = os.cpu_count() or 1
    if cores == 1:
        return 1
    worth = bytes_worth_sharing(by_column)
    extracted = Path(pipeline.working_dir, "normalize", "extracted")
    wanted = 1
    for package in extracted.glob("*/new_jobs"):
        sizes = {path.name: path.stat().st_size for path in package.glob("*.typed-jsonl*")}
        # dlt gives each process the same number of files, including the small file of its state.
        most, workers = min((_most_bytes(sizes, count), count) for count in range(1, cores + 2))
        if sum(sizes.values()) - most >= worth:
            wanted = max(wanted, workers)
    return wanted


def bytes_worth_sharing(by_column: bool) -> int:
    """Return how many bytes other processes must take over for a second process to pay off."""
    return PARALLEL_COLUMN_BYTES if by_column else PARALLEL_NORMALIZE_BYTES


def _most_bytes(sizes: Mapping[str, int], workers: int) -> int:
    """Return the bytes of the busiest process, if dlt distributes files to so many workers."""
    from dlt.normalize.worker import group_worker_files

    groups = group_worker_files(list(sizes), workers)
    return max((sum(sizes[name] for name in group) for group in groups), default=0)
