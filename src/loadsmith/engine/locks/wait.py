"""Wait until something is free; the wait is logged and can be cancelled."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from loadsmith.engine.locks.files import REPORT_SECONDS
from loadsmith.model import Wait

if TYPE_CHECKING:
    from loadsmith.engine.workspace.open import Workspace


#: Seconds between two looks at what others hold.
_LOOK_SECONDS = 0.5


def wait_until_free(
    what: str, ask: Callable[[], str | None], workspace: "Workspace", *, wait: bool
) -> bool:
    """Ask who holds something until nobody does; the wait and its reason are logged.

    Returns:
        Whether nobody holds it; False where somebody does and is not to be waited for.

    Raises:
        InterruptedError: The run was cancelled meanwhile.
    """
    log = workspace.request.log
    started = time.monotonic()
    reported = -REPORT_SECONDS
    holder: str | None = None
    while (found := ask()) is not None:
        if not wait:
            return False
        holder = found
        waited = time.monotonic() - started
        if waited - reported >= REPORT_SECONDS:
            reported = waited
            log(f"waiting for {what}, held by {holder} ({waited:.0f} s so far)")
        if workspace.request.cancelled():
            raise InterruptedError(f"cancelled while waiting for {what}")
        time.sleep(_LOOK_SECONDS)
    if holder is not None:
        seconds = time.monotonic() - started
        log(f"got {what} after {seconds:.1f} s; it was held by {holder}")
        workspace.waits.append(Wait(lock=what, seconds=round(seconds, 3), holder=holder))
    return True
