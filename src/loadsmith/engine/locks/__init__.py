"""Wait for a file, a database or another run: logged, and ended when the run is cancelled.

What failed for a moment is tried again here, too.
"""

from loadsmith.engine.locks.files import (
    POLL_SECONDS as POLL_SECONDS,
    Holder as Holder,
    HolderGivenUpError as HolderGivenUpError,
    destination_lock as destination_lock,
    exclusive as exclusive,
    is_held as is_held,
    lock_name as lock_name,
    make_room as make_room,
    prepare_for_lock as prepare_for_lock,
    remove_unheld as remove_unheld,
)
from loadsmith.engine.locks.process import (
    is_gone as is_gone,
    is_stopped as is_stopped,
    this_execution as this_execution,
    this_process as this_process,
)
from loadsmith.engine.locks.wait import (
    REPORT_SECONDS as REPORT_SECONDS,
    repeat as repeat,
    retry as retry,
    wait_until_free as wait_until_free,
)
