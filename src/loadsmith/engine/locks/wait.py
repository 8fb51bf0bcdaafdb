"""The loop of every wait: it logs who is in the way, and it ends when the run is cancelled."""

import time
from collections.abc import Callable

from loadsmith.model import Wait

#: Seconds between two looks at what others hold.
LOOK_SECONDS = 0.5

#: Seconds between two lines of log about the same wait.
REPORT_SECONDS = 10.0


def wait_until_free(
    what: str,
    ask: Callable[[], str | None],
    *,
    log: Callable[[str], None],
    cancelled: Callable[[], bool],
    every: float = LOOK_SECONDS,
) -> Wait:
    """Ask who holds something until nobody does.

    Args:
        what: What is waited for, as the log names it.
        ask: Returns the holder, or None when nobody holds it. It may take what is free.
        log: Takes the lines of the log: at once, every ten seconds, and at the end.
        cancelled: Tells whether the run was cancelled.
        every: Seconds between two questions.

    Returns:
        How long it took, and the last holder; its `holder` is None where it was free at once.

    Raises:
        InterruptedError: The run was cancelled meanwhile.
    """
    started = time.monotonic()
    reported = -REPORT_SECONDS
    last: str | None = None
    while (holder := ask()) is not None:
        last = holder
        waited = time.monotonic() - started
        if waited - reported >= REPORT_SECONDS:
            reported = waited
            log(f"waiting for {what}, held by {holder} ({waited:.0f} s so far)")
        if cancelled():
            raise InterruptedError(f"cancelled while waiting for {what}")
        time.sleep(every)
    seconds = time.monotonic() - started
    if last is not None:
        log(f"got {what} after {seconds:.1f} s; it was held by {last}")
    return Wait(lock=what, seconds=round(seconds, 3), holder=last)
