"""The loops of the engine: wait until something is free, try again what failed, and repeat."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from loadsmith.model import Wait

T = TypeVar("T")

#: Seconds between two questions.
LOOK_SECONDS = 0.5

#: Seconds between two log lines about the same wait.
REPORT_SECONDS = 10.0


def wait_until_free(
    what: str,
    ask: Callable[[], str | None],
    *,
    log: Callable[[str], None],
    cancelled: Callable[[], bool],
    every: float = LOOK_SECONDS,
) -> Wait:
    """Wait until nobody holds something.

    Args:
        what: What the wait is for, in the log.
        ask: Returns the holder, or None if nobody holds it. It may take it in that case.
        log: Takes the lines of the log: at once, every ten seconds, and at the end.
        cancelled: Returns whether the run was cancelled.
        every: Seconds between two questions.

    Returns:
        How long it took, and the last holder; `holder` is None if it was free at once.

    Raises:
        InterruptedError: The run was cancelled during the wait.
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


def retry(
    action: Callable[[], T],
    *,
    tries: int,
    pause: float,
    may_help: Callable[[Exception], bool],
) -> T:
    """Do something that may be done twice, until it succeeds.

    Args:
        action: What is done.
        tries: How often at most. The error of the last try is raised as it is.
        pause: Seconds before the second try; each later pause is longer by as much, up to a second.
        may_help: Tells whether to try again after an error.
    """
    for attempt in range(1, tries):
        try:
            return action()
        except Exception as error:
            if not may_help(error):
                raise
        time.sleep(min(pause * attempt, 1.0))
    return action()


def repeat(
    work: Callable[[], bool],
    seconds: float,
    ended: threading.Event,
    failed: str,
    log: Callable[[str], None],
    close: Callable[[], None] = lambda: None,
) -> threading.Thread:
    """Do something again and again in a thread, the first time after the pause.

    Args:
        work: Is done once; returns whether it may be done again.
        seconds: The pause.
        ended: Ends the thread when it is set.
        failed: What is logged of an error, after which it goes on.
        log: Takes the lines of the log.
        close: Is called at the end.
    """

    def go_on() -> None:
        try:
            while not ended.wait(seconds):
                try:
                    if not work():
                        return
                except Exception as error:  # noqa: BLE001 - the next one may get through
                    log(f"{failed} ({type(error).__name__}); again")
        finally:
            close()

    thread = threading.Thread(target=go_on, name="loadsmith watch", daemon=True)
    thread.start()
    return thread
