"""Keep loads apart that share a process: its imports and its working directory."""

import contextlib
import functools
import importlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_IMPORTING = threading.Lock()


def import_for_threads() -> None:
    """Import what the first loads of several threads would import at the same moment.

    The modules of PyArrow import one another, and a thread that comes in between sees half of one.
    """
    with _IMPORTING:
        _import_all()


@functools.cache
def _import_all() -> None:
    for name in ("pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet"):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    importlib.import_module("dlt.common.libs.pyarrow")


@contextlib.contextmanager
def working_directory_kept() -> Iterator[None]:
    """Go back to the working directory after the block, which runs code of the user's.

    Relative paths of the load, such as that of a database, mean the same before and after.
    """
    before = Path.cwd()
    try:
        yield
    finally:
        if Path.cwd() != before:
            os.chdir(before)
