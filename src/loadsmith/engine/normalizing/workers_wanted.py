"""Decide how many processes normalize the records of a run."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Bytes of extracted files, compressed, that processes have to take over from the one that has
#: the most to do. These take 3 to 7 s to normalize, and a process 1.3 s to start.
PARALLEL_NORMALIZE_BYTES = 4_000_000


#: The same by column, which takes a fifth of the time.
PARALLEL_COLUMN_BYTES = 20_000_000


def normalize_workers(pipeline: Any, *, by_column: bool) -> int:
    """Return how many processes normalize: one, or one for each core where that is worth it.

    One process normalizes a file. `NORMALIZE__WORKERS` and dlt's `config.toml` win; dlt applies
    them over this number.
    """
    cores = os.cpu_count() or 1
    if cores == 1:
        return 1
    worth = bytes_worth_sharing(by_column)
    extracted = Path(pipeline.working_dir, "normalize", "extracted")
    wanted = 1
    for package in extracted.glob("*/new_jobs"):
        sizes = {path.name: path.stat().st_size for path in package.glob("*.typed-jsonl*")}
        # dlt gives each process as many files, and the small one of its own state is among them.
        most, workers = min((_most_bytes(sizes, count), count) for count in range(1, cores + 2))
        if sum(sizes.values()) - most >= worth:
            wanted = max(wanted, workers)
    return wanted


def bytes_worth_sharing(by_column: bool) -> int:
    """Return how many bytes other processes must take over for a second process to pay off."""
    return PARALLEL_COLUMN_BYTES if by_column else PARALLEL_NORMALIZE_BYTES


def _most_bytes(sizes: Mapping[str, int], workers: int) -> int:
    """Return the bytes of the process that has the most, where dlt shares out files."""
    from dlt.normalize.worker import group_worker_files

    groups = group_worker_files(list(sizes), workers)
    return max((sum(sizes[name] for name in group) for group in groups), default=0)
