"""Return free memory to the system, and keep the garbage collector's work small."""

import contextlib
import gc
import sys
from collections.abc import Iterator


def release_memory() -> None:
    """Return what normalize has freed to the system, before the load needs as much."""
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        for pool in (pa.default_memory_pool(), pa.system_memory_pool()):
            pool.release_unused()


@contextlib.contextmanager
def old_objects_set_aside() -> Iterator[None]:
    """Exclude the objects that exist from garbage collection during the block.

    The modules of dlt, Dagster and PyArrow are some 500,000 objects. Each full collection would
    visit them while a load creates millions of others. Nothing is done if the process has frozen
    objects itself.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
