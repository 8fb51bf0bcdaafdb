"""Memory of this process: give back what is free, and keep the garbage collector's work small."""

import contextlib
import gc
import sys
from collections.abc import Iterator


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
